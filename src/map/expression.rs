//! Expressions of behaviour rules: `RIS & IMSC`, `written == 0`. Numbers of 64 bits that wrap; nothing can fail at run time.

use serde::Serialize;

use super::behaviour::Target;

/// A formula over registers, fields and what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Expression {
    /// As the map has it.
    pub text: String,
    pub(crate) node: Node,
}

impl From<Expression> for String {
    fn from(expression: Expression) -> String {
        expression.text
    }
}

/// One step of a formula. The operators are Python's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Number(u64),
    /// What a register or field holds, as the device itself sees it.
    Held(Target),
    /// How many words of a FIFO wait for software.
    Waiting(Target),
    /// How many words that software wrote are still in a FIFO.
    Sending(Target),
    /// What the access that triggered the rule has written, or read.
    Written,
    /// What was there before.
    Old,
    Not(Box<Node>),
    Invert(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// `a if c else b`: condition, then, otherwise.
    Choice(Box<Node>, Box<Node>, Box<Node>),
}

/// An operator between two formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Of truth values: 0 is false.
    Both,
    Either,
}

/// What an expression can ask for.
pub(crate) trait Scope {
    /// What a register or field holds.
    fn held(&mut self, target: &Target) -> u64;
    /// How many words of a FIFO wait for software.
    fn waiting(&mut self, target: &Target) -> u64;
    /// How many words that software wrote are still in a FIFO.
    fn sending(&mut self, target: &Target) -> u64;
    /// What was written, or read.
    fn written(&self) -> u64;
    /// What was there before.
    fn old(&self) -> u64;
}

impl Expression {
    /// The registers and fields it looks at.
    pub(crate) fn parts(&self) -> Vec<&Target> {
        let mut found = Vec::new();
        parts(&self.node, &mut found);
        found
    }

    /// Works it out: `held` tells what a register or field holds, `written` and `old` are those of the access that
    /// set the rule off, 0 where there was none. FIFOs are empty.
    pub fn work_out(&self, held: &mut dyn FnMut(&Target) -> u64, written: u64, old: u64) -> u64 {
        struct Given<'a>(&'a mut dyn FnMut(&Target) -> u64, u64, u64);
        impl Scope for Given<'_> {
            fn held(&mut self, target: &Target) -> u64 {
                (self.0)(target)
            }
            fn waiting(&mut self, _: &Target) -> u64 {
                0
            }
            fn sending(&mut self, _: &Target) -> u64 {
                0
            }
            fn written(&self) -> u64 {
                self.1
            }
            fn old(&self) -> u64 {
                self.2
            }
        }
        self.value(&mut Given(held, written, old))
    }

    /// Works it out.
    pub(crate) fn value(&self, scope: &mut dyn Scope) -> u64 {
        value(&self.node, scope)
    }
}

fn parts<'a>(node: &'a Node, found: &mut Vec<&'a Target>) {
    match node {
        Node::Held(target) | Node::Waiting(target) | Node::Sending(target) => found.push(target),
        Node::Number(_) | Node::Written | Node::Old => {}
        Node::Not(inner) | Node::Invert(inner) | Node::Negate(inner) => parts(inner, found),
        Node::Binary(_, left, right) => [left, right].into_iter().for_each(|node| parts(node, found)),
        Node::Choice(condition, then, otherwise) => {
            [condition, then, otherwise].into_iter().for_each(|node| parts(node, found));
        }
    }
}

fn value(node: &Node, scope: &mut dyn Scope) -> u64 {
    match node {
        Node::Number(number) => *number,
        Node::Held(target) => scope.held(target),
        Node::Waiting(target) => scope.waiting(target),
        Node::Sending(target) => scope.sending(target),
        Node::Written => scope.written(),
        Node::Old => scope.old(),
        Node::Not(inner) => u64::from(value(inner, scope) == 0),
        Node::Invert(inner) => !value(inner, scope),
        Node::Negate(inner) => value(inner, scope).wrapping_neg(),
        Node::Binary(operator, left, right) => {
            let left = value(left, scope);
            match operator {
                // The other side is not looked at where it does not matter, as in Python.
                Operator::Both if left == 0 => 0,
                Operator::Either if left != 0 => 1,
                _ => operator.apply(left, value(right, scope)),
            }
        }
        Node::Choice(condition, then, otherwise) => {
            let chosen = if value(condition, scope) != 0 { then } else { otherwise };
            value(chosen, scope)
        }
    }
}

impl Operator {
    fn apply(self, left: u64, right: u64) -> u64 {
        let shift = u32::try_from(right).ok();
        match self {
            Operator::Add => left.wrapping_add(right),
            Operator::Subtract => left.wrapping_sub(right),
            Operator::Multiply => left.wrapping_mul(right),
            Operator::And => left & right,
            Operator::Or => left | right,
            Operator::Xor => left ^ right,
            Operator::ShiftLeft => shift.and_then(|shift| left.checked_shl(shift)).unwrap_or(0),
            Operator::ShiftRight => shift.and_then(|shift| left.checked_shr(shift)).unwrap_or(0),
            Operator::Equal => u64::from(left == right),
            Operator::NotEqual => u64::from(left != right),
            Operator::Less => u64::from(left < right),
            Operator::LessEqual => u64::from(left <= right),
            Operator::Greater => u64::from(left > right),
            Operator::GreaterEqual => u64::from(left >= right),
            Operator::Both | Operator::Either => u64::from(right != 0),
        }
    }
}
