//! The rules of a mock: what sets them off, when they act, and what they do.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::slot::Waiting;
use super::state::{State, key};
use crate::map::{Action, Behaviour, Delay, Expression, Scope, Target, Trigger};

/// A rule that acts at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    at: Duration,
    serial: u64,
    pub rule: usize,
    written: u64,
    old: u64,
}

impl State {
    /// Adds rules behind those that are there.
    pub fn add_rules(&mut self, rules: impl IntoIterator<Item = Arc<Behaviour>>) {
        for rule in rules {
            let index = self.rules.len();
            match &rule.trigger {
                Trigger::Always => {
                    for action in &rule.actions {
                        match action {
                            Action::Set(target, _) => self.slot_mut(key(target)).assigned.push(index),
                            Action::Interrupt(_) => self.levels.push(index),
                            Action::Push(..) | Action::Send(_) | Action::Flush(_) | Action::Reset => {}
                        }
                    }
                }
                Trigger::Written(parts) => {
                    for (target, _) in parts {
                        self.slot_mut(key(target)).on_write.push(index);
                    }
                }
                Trigger::Read(parts) => {
                    for target in parts {
                        self.slot_mut(key(target)).on_read.push(index);
                    }
                }
                Trigger::Input(parts) => {
                    for (target, _) in parts {
                        self.slot_mut(key(target)).on_input.push(index);
                    }
                }
                Trigger::Every(period) => {
                    let at = self.clock.now() + *period;
                    self.schedule(at, index, 0, 0);
                }
            }
            self.rules.push(rule);
        }
        self.outdate_faces();
        self.drive();
    }

    /// Does what is due: what other processes have written first.
    #[inline(always)]
    pub fn catch_up(&mut self) {
        if self.shared.is_some() {
            self.notice();
            self.act();
            self.present();
        } else if !self.timers.is_empty() {
            self.act();
        }
    }

    /// Lets the rules act whose time has come.
    fn act(&mut self) {
        let Some(Reverse(first)) = self.timers.peek() else { return };
        let now = self.clock.now();
        if first.at > now {
            return;
        }
        while let Some(Reverse(due)) = self.timers.peek().copied().filter(|due| due.0.at <= now) {
            self.timers.pop();
            let rule = self.rules[due.rule].clone();
            match rule.trigger {
                Trigger::Every(period) => {
                    self.schedule(due.at + period, due.rule, 0, 0);
                    if self.holds(&rule, 0, 0) {
                        self.perform(&rule, 0, 0);
                    }
                }
                _ => self.perform(&rule, due.written, due.old),
            }
        }
        self.drive();
    }

    /// How long until the next rule acts by time alone.
    pub fn next_due(&self) -> Option<Duration> {
        self.timers.peek().map(|due| due.0.at.saturating_sub(self.clock.now()))
    }

    fn schedule(&mut self, at: Duration, rule: usize, written: u64, old: u64) {
        self.serial += 1;
        self.timers.push(Reverse(Due { at, serial: self.serial, rule, written, old }));
    }

    /// A rule is set off.
    pub fn trigger(&mut self, index: usize, rule: &Behaviour, written: u64, old: u64) {
        if !self.holds(rule, written, old) {
            return;
        }
        match rule.delay {
            None => self.perform(rule, written, old),
            Some(Delay::Time(time)) => self.schedule(self.clock.now() + time, index, written, old),
            Some(Delay::Reads(left)) => {
                let target = rule.actions.iter().find_map(|action| match action {
                    Action::Set(target, _)
                    | Action::Push(target, _)
                    | Action::Send(target)
                    | Action::Flush(target) => Some(key(target)),
                    Action::Interrupt(_) | Action::Reset => None,
                });
                match target {
                    Some(key) => self.slot_mut(key).waiting.push(Waiting { left, rule: index, written, old }),
                    None => self.perform(rule, written, old),
                }
            }
        }
    }

    fn holds(&self, rule: &Behaviour, written: u64, old: u64) -> bool {
        rule.condition.as_ref().is_none_or(|condition| self.value(condition, written, old) != 0)
    }

    pub fn perform(&mut self, rule: &Behaviour, written: u64, old: u64) {
        for action in &rule.actions {
            match action {
                Action::Set(target, expression) => {
                    let value = self.value(expression, written, old);
                    self.set(target, value);
                }
                Action::Push(target, expression) => {
                    let word = self.value(expression, written, old);
                    self.push(key(target), word);
                }
                Action::Send(target) => {
                    let slot = self.slot_mut(key(target));
                    slot.left = slot.sent.len();
                }
                Action::Flush(target) => {
                    let slot = self.slot_mut(key(target));
                    slot.received.clear();
                    slot.sent.truncate(slot.left);
                    self.show(key(target));
                }
                Action::Interrupt(expression) => {
                    if self.value(expression, written, old) != 0 {
                        self.line.pulse();
                    }
                }
                Action::Reset => self.reset(),
            }
        }
    }

    pub fn value(&self, expression: &Expression, written: u64, old: u64) -> u64 {
        expression.value(&mut Asked { state: self, written, old })
    }

    /// Drives the interrupt line as the rules say.
    #[inline(always)]
    pub fn drive(&mut self) {
        if !self.levels.is_empty() {
            self.drive_line();
        }
    }

    fn drive_line(&mut self) {
        let level = self.levels.iter().any(|rule| {
            self.rules[*rule].actions.iter().any(|action| match action {
                Action::Interrupt(expression) => self.value(expression, 0, 0) != 0,
                _ => false,
            })
        });
        self.line.drive(level);
    }
}

/// What the expression of a rule can ask for.
struct Asked<'a> {
    state: &'a State,
    written: u64,
    old: u64,
}

impl Scope for Asked<'_> {
    fn held(&mut self, target: &Target) -> u64 {
        self.state.held(target)
    }

    fn waiting(&mut self, target: &Target) -> u64 {
        self.state.slot(key(target)).map_or(0, |slot| slot.received.len() as u64)
    }

    fn sending(&mut self, target: &Target) -> u64 {
        self.state.slot(key(target)).map_or(0, |slot| slot.sending() as u64)
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn old(&self) -> u64 {
        self.old
    }
}
