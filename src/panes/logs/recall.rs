//! Filters that were in force before: undone one by one, the last one with a key, saved ones by their names.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::app::effect::{Effect, Notice};
use crate::domain::query::saved::{self, SavedQuery};
use crate::panes::Context;
use crate::panes::logs::LogsPane;
use crate::panes::logs::chips::Chips;

/// Changes of the filter that can be taken back: an outage's worth of trying.
const UNDO_MAX: usize = 100;
/// Filters offered again in the list of queries.
const RECENT_MAX: usize = 30;

/// What the filter was before.
#[derive(Debug, Clone, Default)]
pub struct Recall {
    /// Every stack that was changed, the newest last.
    undo: VecDeque<Chips>,
    /// The last stack with chips in it that is not the present one.
    last: Option<Chips>,
    /// The text forms of stacks that were in force, the newest last.
    recent: VecDeque<String>,
    saved: Vec<SavedQuery>,
}

impl Recall {
    /// Takes note of a change.
    fn note(&mut self, before: &Chips, after: &Chips) {
        if before.all() == after.all() {
            return;
        }
        self.undo.push_back(before.clone());
        if self.undo.len() > UNDO_MAX {
            self.undo.pop_front();
        }
        self.replaced(before);
    }

    fn replaced(&mut self, before: &Chips) {
        if before.is_empty() {
            return;
        }
        self.last = Some(before.clone());
        let text = before.text();
        self.recent.retain(|it| *it != text);
        self.recent.push_back(text);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// The query that a text stands for, each `@name` in it replaced.
    pub fn expand<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, String> {
        saved::expand(&self.saved, text)
    }

    /// True when a text calls a saved query: other text with an `@` means itself.
    pub fn is_called(&self, text: &str) -> bool {
        saved::names_one_of(&self.saved, text)
    }

    /// The saved queries.
    pub fn saved(&self) -> &[SavedQuery] {
        &self.saved
    }
}

impl LogsPane {
    /// Takes the saved queries of the config into use.
    pub fn set_queries(&mut self, queries: &[SavedQuery]) {
        self.recall.saved = queries.to_vec();
    }

    /// Takes note that the filter was another one before.
    pub(super) fn note_change(&mut self, before: &Chips) {
        self.recall.note(before, &self.chips);
    }

    /// Takes the last change of the filter back.
    pub(super) fn undo(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(before) = self.recall.undo.pop_back() else {
            return vec![Notice::info("no change of the filter to take back")];
        };
        let present = self.chips.clone();
        let mut effects = self.use_chips(cx, before);
        self.recall.replaced(&present);
        effects.push(self.filter_notice("filter as before"));
        effects
    }

    fn filter_notice(&self, what: &str) -> Effect {
        Notice::info(match self.chips.is_empty() {
            true => format!("{what}: none"),
            false => format!("{what}: {}", crate::domain::sanitise::text(&self.chips.text())),
        })
    }

    /// Goes to the last filter, and from there back to this one.
    pub(super) fn last_query(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let wanted = self.recall.last.clone().filter(|it| it.all() != self.chips.all());
        let mut effects = match wanted {
            Some(wanted) => self.set_chips(cx, wanted),
            None if self.chips.is_empty() => {
                return vec![Notice::info("no filter was used before: `f` adds one, `Q` lists the saved ones")];
            }
            // There is no other one: the key takes it away and brings it back.
            None => self.set_chips(cx, Chips::default()),
        };
        // Also so that no older word about the filter stays in the footer.
        effects.push(self.filter_notice("filter"));
        effects
    }

    /// Lets the person pick among saved and earlier queries.
    pub(super) fn pick_query(&self) -> Vec<Effect> {
        let mut choices = self.recall.saved.clone();
        let recent = self.recall.recent.iter().rev();
        choices.extend(recent.map(|text| SavedQuery { name: String::new(), query: text.clone() }));
        if choices.is_empty() {
            let text = "no saved query yet: the config takes `[[query]]` with `name = …` and `query = …`";
            return vec![Notice::info(text)];
        }
        vec![Effect::PickQuery(choices)]
    }
}
