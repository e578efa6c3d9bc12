//! When several chips together leave nothing: what would match without each of them.
//!
//! Counting costs a pass over the logs for each chip, so it is done only then, one chip after the other.

use std::collections::VecDeque;

use crate::app::effect::Effect;
use crate::panes::Context;
use crate::panes::logs::LogsPane;
use crate::panes::logs::feed::Ask;

/// Chips that are tried, the newest first: more are not read by anyone who looks for the one that is wrong.
const TRIED_MAX: usize = 8;

/// What was found about a filter that leaves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blame {
    query: String,
    /// Chips that were not tried yet: what it says, the query without it.
    waiting: VecDeque<(String, String)>,
    /// The chip that is being tried.
    trying: Option<String>,
    /// The chip without which most would match, and how much.
    worst: Option<(String, u64)>,
}

impl Blame {
    /// The chip without which most would match, and how many records that are. `None` while that is not known,
    /// or when leaving out one chip is not enough.
    pub fn worst(&self) -> Option<(&str, u64)> {
        let settled = self.waiting.is_empty() && self.trying.is_none();
        self.worst.as_ref().filter(|_| settled).map(|(label, count)| (label.as_str(), *count))
    }

    /// Every chip was tried, and leaving out any one of them still leaves nothing.
    pub fn is_nobody(&self) -> bool {
        self.waiting.is_empty() && self.trying.is_none() && self.worst.is_none()
    }

    /// True when this is about the filter given.
    pub fn is_about(&self, query: &str) -> bool {
        self.query == query
    }
}

impl LogsPane {
    /// Begins to try the chips when they leave nothing and that is certain.
    pub(super) fn look_for_blame(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let counts = self.feed.counts;
        let nothing = counts.complete && counts.matched == 0 && counts.scanned > 0;
        if !nothing || self.prompt.is_some() || self.detour.is_some() || self.chips.active() < 2 {
            return Vec::new();
        }
        let query = self.chips.query();
        if self.blame.is_about(&query) {
            return Vec::new();
        }
        let waiting = self.chips.without_each().into_iter().rev().take(TRIED_MAX).collect();
        self.blame = Blame { query, waiting, ..Blame::default() };
        self.try_next(cx)
    }

    /// Takes in how much matches without the chip that was tried.
    pub(super) fn tried(&mut self, cx: &Context<'_>, matched: u64) -> Vec<Effect> {
        if let Some(label) = self.blame.trying.take()
            && matched > self.blame.worst.as_ref().map_or(0, |it| it.1)
        {
            self.blame.worst = Some((label, matched));
        }
        self.try_next(cx)
    }

    fn try_next(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some((label, query)) = self.blame.waiting.pop_front() else { return Vec::new() };
        self.blame.trying = Some(label);
        let ask = Ask { query, ..self.ask(cx) };
        vec![self.feed.ask_count(ask)]
    }
}
