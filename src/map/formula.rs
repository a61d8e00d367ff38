//! From text to an expression: Python's operators and their precedence, over the parts of a map.

use std::ops::Range;

use super::diagnostic::clean;
use super::expression::{Expression, Node, Operator};
use super::keys;
use super::parts::{Names, Parts, Wrong};

/// Numbers, names and operators of one expression.
const MOST_PARTS: usize = 256;

/// Parentheses in parentheses, and what is like them.
const DEEPEST: usize = 64;

/// What an expression may name.
pub(super) struct Surroundings<'a> {
    pub parts: &'a Parts<'a>,
    /// The element that `[*]` means; None in a rule without one.
    pub index: Option<u64>,
    /// What `written` stands for: None where nothing is written.
    pub written: Option<Names<'a>>,
    /// What `old` stands for.
    pub old: Option<Names<'a>>,
}

/// Something, or what is wrong and where in the text.
pub(super) type Found<T> = Result<T, (Range<usize>, Wrong)>;

/// Reads an expression; `names` are those of the values of what it is given to.
pub(super) fn parse<'a>(text: &str, around: &Surroundings<'a>, names: Names<'a>) -> Found<Expression> {
    let expression = |node| Expression { text: text.into(), node };
    // By the whole text first: the names of values may have any characters.
    if let Some(number) = names.number(text) {
        return Ok(expression(Node::Number(number)));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.len(), around, depth: 0 };
    let node = parser.choice(names)?;
    match parser.peek() {
        None => Ok(expression(node)),
        Some(token) => Err((parser.here(), stray(token))),
    }
}

/// The paths that a text names, as far as it is an expression.
pub(super) fn paths(text: &str) -> Vec<String> {
    let path = |(_, token)| match token {
        Token::Name(path) | Token::Quoted(path) => Some(path),
        Token::Number(_) | Token::Sign(_) => None,
    };
    tokens(text).map_or(Vec::new(), |tokens| tokens.into_iter().filter_map(path).collect())
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(u64),
    /// A path, or one of `written`, `old` and `index`.
    Name(String),
    /// A path with backquotes in it, which is never a keyword.
    Quoted(String),
    /// A sign, or one of the words that are like one.
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 17] =
    ["<<", ">>", "==", "!=", "<=", ">=", "<", ">", "|", "^", "&", "+", "-", "*", "~", "(", ")"];

/// Words that are no names.
const WORDS: [&str; 5] = ["if", "else", "and", "or", "not"];

/// What other languages write, and Python and this do not.
const FOREIGN: [(&str, &str); 10] = [
    ("&&", "write \"and\""),
    ("||", "write \"or\""),
    ("**", "there are +, - and *; << multiplies by a power of two"),
    ("//", "there is no division, which could fail; >> divides by a power of two"),
    ("/", "there is no division, which could fail; >> divides by a power of two"),
    ("%", "there is no division, which could fail; & keeps the lowest bits"),
    ("?", "write \"a if condition else b\""),
    (":=", "an expression changes nothing; set = { … } does"),
    ("=", "\"==\" compares"),
    ("!", "write \"not\""),
];

fn tokens(text: &str) -> Found<Vec<(Range<usize>, Token)>> {
    let mut tokens = Vec::new();
    let mut here = 0;
    while let Some(first) = text[here..].chars().next() {
        let rest = &text[here..];
        if first.is_whitespace() {
            here += first.len_utf8();
            continue;
        }
        let (length, token) = if first.is_ascii_digit() {
            number(rest, here)?
        } else if is_word(first) || first == '`' {
            name(rest, here)?
        } else {
            sign(rest, here)?
        };
        tokens.push((here..here + length, token));
        here += length;
        if tokens.len() > MOST_PARTS {
            let problem = format!("an expression has at most {MOST_PARTS} parts");
            return Err((
                here - length..here,
                Wrong::new(problem, "give some of it to a register of its own, by assign"),
            ));
        }
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn number(rest: &str, here: usize) -> Found<(usize, Token)> {
    let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let at = here..here + length;
    if rest[length..].starts_with('.') {
        return Err((at.start..at.end + 1, Wrong::new("numbers are whole", "they have 64 bits and wrap")));
    }
    let wrong = || {
        let help = "decimal, 0x… or 0b…; a name that begins with a digit stands in backquotes: `2ND`.EN";
        Wrong::new(format!("{:?} is no number of 64 bits", &rest[..length]), help)
    };
    let number = keys::parse(&rest[..length]).ok_or_else(|| (at, wrong()))?;
    Ok((length, Token::Number(number)))
}

fn sign(rest: &str, here: usize) -> Found<(usize, Token)> {
    let wrong = |length: usize, help: Option<&str>| {
        let message = format!("an expression has no {:?}", clean(&rest[..length]));
        (here..here + length, Wrong { message, help: help.map(String::from) })
    };
    if let Some((sign, help)) = FOREIGN
        .iter()
        .find(|(sign, _)| rest.starts_with(sign) && !rest.starts_with("==") && !rest.starts_with("!="))
    {
        return Err(wrong(sign.len(), Some(help)));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((sign.len(), Token::Sign(sign))),
        None => {
            let length = rest.chars().next().map_or(0, char::len_utf8);
            Err(wrong(length, Some("a name with such characters stands in backquotes: `rx-count`.EN")))
        }
    }
}

/// A word, or a path: words and backquoted names with dots and indices.
fn name(rest: &str, here: usize) -> Found<(usize, Token)> {
    let mut path = String::new();
    let mut quoted = false;
    let mut at = 0;
    loop {
        let part = &rest[at..];
        if let Some(inside) = part.strip_prefix('`') {
            let Some(end) = inside.find('`') else {
                return Err((
                    here + at..here + rest.len(),
                    Wrong::new("a ` is missing", "backquotes are around a name"),
                ));
            };
            quoted = true;
            path.push_str(&inside[..end]);
            at += end + 2;
        } else {
            let length = part.find(|c: char| !is_word(c)).unwrap_or(part.len());
            if length == 0 {
                return Err((
                    here..here + at,
                    Wrong::new("a name is missing after the dot", "a path is like CH[3].CTRL.EN"),
                ));
            }
            path.push_str(&part[..length]);
            at += length;
        }
        if rest[at..].starts_with('[') {
            let Some(end) = rest[at..].find(']') else {
                return Err((
                    here + at..here + at + 1,
                    Wrong::new("a ] is missing", "a path is like CH[3].CTRL.EN"),
                ));
            };
            path.push_str(&rest[at..=at + end]);
            at += end + 1;
        }
        if !rest[at..].starts_with('.') {
            break;
        }
        path.push('.');
        at += 1;
    }
    let word = WORDS.iter().find(|word| !quoted && **word == path);
    Ok((
        at,
        match word {
            Some(word) => Token::Sign(word),
            None if quoted => Token::Quoted(path),
            None => Token::Name(path),
        },
    ))
}

/// What comes where an operator or the end should.
fn stray(token: &Token) -> Wrong {
    match token {
        Token::Sign(")") => Wrong::new("this ) closes nothing", "each ) has a ( before it"),
        Token::Sign("else") => Wrong::new("this else has no if", "write: a if condition else b"),
        _ => Wrong::new(
            "an operator is missing before this",
            "there is + - * & | ^ << >> == != < <= > >= and, or, if … else",
        ),
    }
}

/// A part of an expression, which may still be the name of a value.
enum Operand<'a> {
    /// With the names of the numbers it can be compared with.
    Node(Node, Names<'a>),
    Name(String, Range<usize>),
}

/// How tightly operators bind, as in Python.
const OR: u8 = 1;
const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const UNARY: u8 = 11;

fn operator(token: &Token) -> Option<(Operator, u8)> {
    let Token::Sign(sign) = token else { return None };
    Some(match *sign {
        "or" => (Operator::Either, OR),
        "and" => (Operator::Both, 2),
        "==" => (Operator::Equal, COMPARISON),
        "!=" => (Operator::NotEqual, COMPARISON),
        "<" => (Operator::Less, COMPARISON),
        "<=" => (Operator::LessEqual, COMPARISON),
        ">" => (Operator::Greater, COMPARISON),
        ">=" => (Operator::GreaterEqual, COMPARISON),
        "|" => (Operator::Or, 5),
        "^" => (Operator::Xor, 6),
        "&" => (Operator::And, 7),
        "<<" => (Operator::ShiftLeft, 8),
        ">>" => (Operator::ShiftRight, 8),
        "+" => (Operator::Add, 9),
        "-" => (Operator::Subtract, 9),
        "*" => (Operator::Multiply, 10),
        _ => return None,
    })
}

struct Parser<'a, 'b> {
    tokens: Vec<(Range<usize>, Token)>,
    next: usize,
    /// Of the text.
    end: usize,
    around: &'b Surroundings<'a>,
    depth: usize,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    /// Where the next token is, or the end.
    fn here(&self) -> Range<usize> {
        self.tokens.get(self.next).map_or(self.end..self.end, |(at, _)| at.clone())
    }

    fn eat(&mut self, sign: &'static str) -> bool {
        let there = self.peek() == Some(&Token::Sign(sign));
        self.next += usize::from(there);
        there
    }

    fn deeper(&mut self) -> Found<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let problem = format!("an expression is nested deeper than {DEEPEST}");
            return Err((
                self.here(),
                Wrong::new(problem, "give some of it to a register of its own, by assign"),
            ));
        }
        Ok(())
    }

    /// `a if c else b`, or what binds tighter. `names` are those of what becomes of it.
    fn choice(&mut self, names: Names<'a>) -> Found<Node> {
        self.deeper()?;
        let first = self.binary(OR)?;
        let first = self.node(first, names)?;
        let node = if self.eat("if") {
            let condition = self.binary(OR)?;
            let condition = self.node(condition, Names::default())?;
            if !self.eat("else") {
                return Err((self.here(), Wrong::new("an else is missing", "write: a if condition else b")));
            }
            Node::Choice(Box::new(condition), Box::new(first), Box::new(self.choice(names)?))
        } else {
            first
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Operators that bind as tightly as `least` or tighter.
    fn binary(&mut self, least: u8) -> Found<Operand<'a>> {
        let mut left = self.unary(least)?;
        while let Some((operator, level)) =
            self.peek().and_then(operator).filter(|(_, level)| *level >= least)
        {
            self.next += 1;
            let right = self.binary(level + 1)?;
            let (ours, theirs) = match level {
                COMPARISON => (self.names(&left), self.names(&right)),
                _ => Default::default(),
            };
            let (one, two) = (self.node(left, theirs)?, self.node(right, ours)?);
            left = Operand::Node(Node::Binary(operator, Box::new(one), Box::new(two)), Names::default());
            if level == COMPARISON
                && self.peek().and_then(self::operator).is_some_and(|(_, next)| next == level)
            {
                let problem = "comparisons cannot be chained";
                return Err((self.here(), Wrong::new(problem, "write: a < b and b < c")));
            }
        }
        Ok(left)
    }

    fn unary(&mut self, least: u8) -> Found<Operand<'a>> {
        type Make = fn(Box<Node>) -> Node;
        let (make, level): (Make, u8) = match self.peek() {
            Some(Token::Sign("not")) if least > NOT => {
                let help = "\"not\" binds loosely, as in Python: a == (not b)";
                return Err((self.here(), Wrong::new("put parentheses around this", help)));
            }
            Some(Token::Sign("not")) => (Node::Not, NOT),
            Some(Token::Sign("-")) => (Node::Negate, UNARY),
            Some(Token::Sign("~")) => (Node::Invert, UNARY),
            _ => return self.primary(),
        };
        self.next += 1;
        self.deeper()?;
        let inner = self.binary(level)?;
        let inner = self.node(inner, Names::default())?;
        self.depth -= 1;
        Ok(Operand::Node(make(Box::new(inner)), Names::default()))
    }

    fn primary(&mut self) -> Found<Operand<'a>> {
        let at = self.here();
        let token = self.peek().cloned();
        self.next += 1;
        let plain = |node| Operand::Node(node, Names::default());
        match token {
            Some(Token::Number(number)) => Ok(plain(Node::Number(number))),
            Some(Token::Quoted(name)) => Ok(Operand::Name(name, at)),
            Some(Token::Name(name)) if self.peek() == Some(&Token::Sign("(")) => {
                Ok(plain(self.level(&name, at)?))
            }
            Some(Token::Name(name)) => match (name.as_str(), self.around.written, self.around.old) {
                ("index", ..) => match self.around.index {
                    Some(index) => Ok(plain(Node::Number(index))),
                    None => Err((
                        at,
                        Wrong::new("this rule has no index", "[*] in a path makes it one for each element"),
                    )),
                },
                ("written", Some(names), _) => Ok(Operand::Node(Node::Written, names)),
                ("written", None, Some(_)) => {
                    Err((at, Wrong::new("a read writes nothing", "old is what was read")))
                }
                ("old", _, Some(names)) => Ok(Operand::Node(Node::Old, names)),
                ("written" | "old", ..) => {
                    let problem = format!("{name} belongs to an access, and none triggers this rule");
                    Err((at, Wrong::new(problem, "give it on-write, or for old on-read")))
                }
                _ => Ok(Operand::Name(name, at)),
            },
            Some(Token::Sign("(")) => {
                let node = self.choice(Names::default())?;
                if !self.eat(")") {
                    return Err((
                        self.here(),
                        match self.peek() {
                            None => Wrong::new("a ) is missing", "each ( has a ) after it"),
                            Some(token) => stray(token),
                        },
                    ));
                }
                Ok(plain(node))
            }
            Some(_) => Err((at, Wrong::new("a number, a name or a ( is missing before this", FORM))),
            None if self.tokens.is_empty() => Err((at, Wrong::new("the expression is empty", FORM))),
            None => Err((at, Wrong::new("the expression ends too soon", FORM))),
        }
    }

    /// `waiting(PATH)` and `sending(PATH)`: how many words are in a FIFO.
    fn level(&mut self, function: &str, at: Range<usize>) -> Found<Node> {
        let make = match function {
            "waiting" => Node::Waiting,
            "sending" => Node::Sending,
            _ => {
                let problem = format!("there is no function {function:?}");
                return Err((
                    at,
                    Wrong::new(problem, "there are waiting(PATH) and sending(PATH), of a FIFO"),
                ));
            }
        };
        self.next += 1;
        let at = self.here();
        let help = "write: waiting(DATA)";
        let Some(Token::Name(path) | Token::Quoted(path)) = self.peek().cloned() else {
            return Err((at, Wrong::new("the name of a FIFO is missing", help)));
        };
        self.next += 1;
        if !self.eat(")") {
            return Err((self.here(), Wrong::new("a ) is missing", help)));
        }
        let part = self.around.parts.find(&path, self.around.index).map_err(|wrong| (at.clone(), wrong))?;
        let (fits, access) = match function {
            "waiting" => (part.readable(), "cannot be read, so no word waits in it"),
            _ => (part.writable(), "cannot be written, so no word is sent from it"),
        };
        match (part.register.fifo.is_some() && part.field.is_none(), fits) {
            (true, true) => Ok(make(part.target)),
            (true, false) => {
                let help = "waiting counts the words that software is to read, sending those it wrote";
                Err((at, Wrong::new(format!("{path} {access}"), help)))
            }
            (false, _) => {
                Err((at, Wrong::new(format!("{path} is no FIFO"), "its register says so: fifo = true")))
            }
        }
    }

    /// The names of the numbers that something can be compared with.
    fn names(&self, operand: &Operand<'a>) -> Names<'a> {
        match operand {
            Operand::Node(_, names) => *names,
            Operand::Name(path, _) => {
                self.around.parts.find(path, self.around.index).map_or(Names::default(), |part| part.names())
            }
        }
    }

    /// A name is that of a value where values have names, and else of a part.
    fn node(&mut self, operand: Operand<'a>, names: Names<'a>) -> Found<Node> {
        let (name, at) = match operand {
            Operand::Node(node, _) => return Ok(node),
            Operand::Name(name, at) => (name, at),
        };
        if let Some(number) = names.number(&name) {
            return Ok(Node::Number(number));
        }
        match self.around.parts.find(&name, self.around.index) {
            Ok(part) => Ok(Node::Held(part.target)),
            Err(_) if !names.is_empty() && !name.contains(['.', '[']) => {
                let problem = format!("{name:?} is no value of the field, and no register");
                Err((at, Wrong { message: problem, help: names.suggest(&name) }))
            }
            Err(mut wrong) => {
                if let Some(path) = self.around.parts.with_sign(&name) {
                    wrong.help = Some(format!("a name with a sign in it stands in backquotes: `{path}`"));
                }
                Err((at, wrong))
            }
        }
    }
}

const FORM: &str = "an expression is like: RIS & IMSC, or CTRL.EN and not STATUS.BUSY";
