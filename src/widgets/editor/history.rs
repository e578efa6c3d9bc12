//! Undo and redo: typing is one step per word, everything else a step of its own.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::widgets::editor::buffer::Place;

/// Steps that can be undone: a whole night of writing.
pub const STEPS_MAX: usize = 10_000;
/// Bytes that the steps may hold, for those who paste log files.
pub const STEPS_MAX_BYTES: usize = 16 * 1024 * 1024;
/// A pause that ends a step: people undo thoughts, and a thought ends when the hands stop.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// How an edit came about; decides what belongs to one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// A letter was typed.
    Letter,
    /// A blank was typed.
    Blank,
    /// A character was deleted.
    Erase,
    /// Anything else: a step of its own.
    Whole,
}

/// A replaced piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where it begins.
    pub at: Place,
    /// What was there.
    pub removed: String,
    /// What is there now.
    pub inserted: String,
    /// The cursor before.
    pub cursor_before: Place,
    /// The cursor afterwards.
    pub cursor_after: Place,
}

impl Edit {
    fn size_bytes(&self) -> usize {
        self.removed.len() + self.inserted.len()
    }
}

/// What was done and what was undone.
#[derive(Debug, Clone, Default)]
pub struct History {
    done: VecDeque<Edit>,
    undone: Vec<Edit>,
    done_bytes: usize,
    // How and when the newest step was touched last, while it may still grow.
    open: Option<(Touch, Timestamp)>,
}

impl History {
    /// Remembers an edit, as part of the newest step when it continues it.
    pub fn push(&mut self, edit: Edit, touch: Touch, now: Timestamp) {
        self.undone.clear();
        self.done_bytes += edit.size_bytes();
        let rest = self.join(edit, touch, now);
        self.open = Some((touch, now));
        if let Some(edit) = rest {
            self.done.push_back(edit);
        }
        while self.done.len() > STEPS_MAX || (self.done_bytes > STEPS_MAX_BYTES && self.done.len() > 1) {
            self.done_bytes -= self.done.pop_front().map_or(0, |it| it.size_bytes());
        }
    }

    /// Ends the newest step: the cursor was moved.
    pub fn pause(&mut self) {
        self.open = None;
    }

    /// The edit to take back.
    pub fn undo(&mut self) -> Option<Edit> {
        self.open = None;
        let edit = self.done.pop_back()?;
        self.done_bytes -= edit.size_bytes();
        self.undone.push(edit.clone());
        Some(edit)
    }

    /// The edit to do again.
    pub fn redo(&mut self) -> Option<Edit> {
        self.open = None;
        let edit = self.undone.pop()?;
        self.done_bytes += edit.size_bytes();
        self.done.push_back(edit.clone());
        Some(edit)
    }

    /// Joins an edit to the newest step, or gives it back.
    fn join(&mut self, edit: Edit, touch: Touch, now: Timestamp) -> Option<Edit> {
        let (Some((last_touch, last_at)), Some(last)) = (self.open, self.done.back_mut()) else { return Some(edit) };
        if now.duration_since(last_at).abs() > PAUSE {
            return Some(edit);
        }
        let types = last.removed.is_empty() && edit.removed.is_empty() && last.at.after(&last.inserted) == edit.at;
        match (last_touch, touch) {
            // The blank after a word belongs to it; the next letter begins a new one.
            (Touch::Letter, Touch::Letter | Touch::Blank) | (Touch::Blank, Touch::Blank) if types => {
                last.inserted.push_str(&edit.inserted);
            }
            (Touch::Erase, Touch::Erase) if last.inserted.is_empty() && edit.at.after(&edit.removed) == last.at => {
                last.at = edit.at;
                last.removed.insert_str(0, &edit.removed);
            }
            (Touch::Erase, Touch::Erase) if last.inserted.is_empty() && edit.at == last.at => {
                last.removed.push_str(&edit.removed);
            }
            _ => return Some(edit),
        }
        last.cursor_after = edit.cursor_after;
        None
    }
}
