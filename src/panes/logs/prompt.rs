//! The pane's input line: a filter, a search, the comment of a pin, the letter of a mark.
//!
//! While a filter or a search is typed its effect shows at once: every change asks for the rows again, and
//! Esc brings back the filters and the place from before.

use crate::app::effect::{Effect, Notice};
use crate::domain::key::{Key, KeyCode};
use crate::domain::log::Find;
use crate::domain::query::matcher::Pattern;
use crate::panes::Context;
use crate::panes::logs::LogsPane;
use crate::panes::logs::actions::Detour;
use crate::panes::logs::chips::Chips;
use crate::panes::logs::complete::Completion;
use crate::panes::logs::feed::Rows;
use crate::panes::logs::fields;
use crate::panes::logs::motion::Reading;
use crate::panes::logs::selection::Exported;
use crate::widgets::input::LineInput;

/// Characters of a filter or search, at most: a pasted file must not become a regex.
const INPUT_MAX: usize = 1_000;

/// An open input line.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// What it is for.
    pub kind: PromptKind,
    /// What is wrong with the text, in words; the rows are then those of the last good text.
    pub error: Option<String>,
    /// What Tab is completing.
    completing: Option<Completion>,
    before: Before,
}

/// What an input line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptKind {
    /// A chip: a new one, or the one at this index.
    Filter {
        /// It hides what matches.
        out: bool,
        /// The chip that is edited.
        chip: Option<usize>,
    },
    /// The search.
    Search,
    /// What to say about the pinned record.
    Comment,
    /// The fields that are shown as columns.
    Fields,
    /// The file to write records into.
    Export(Exported),
    /// The letter for a place.
    Mark,
    /// The letter of the place to go to.
    GoToMark,
}

/// What Esc restores.
#[derive(Debug, Clone)]
struct Before {
    chips: Chips,
    search: String,
    detour: Option<Box<Detour>>,
    reading: Reading,
    page: Rows,
    tail: Rows,
}

/// The inputs with their histories.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    filter: LineInput,
    search: LineInput,
    comment: LineInput,
    fields: LineInput,
    export: LineInput,
}

impl Prompt {
    /// What stands before the input.
    pub fn label(&self) -> &'static str {
        match self.kind {
            PromptKind::Filter { out: false, chip: None } => "show: ",
            PromptKind::Filter { out: true, chip: None } => "hide: ",
            PromptKind::Filter { out: false, .. } => "show (edit): ",
            PromptKind::Filter { out: true, .. } => "hide (edit): ",
            PromptKind::Search => "/",
            PromptKind::Comment => "pin with comment: ",
            PromptKind::Fields => "columns: ",
            PromptKind::Export(Exported::Selection) => "write the selected records to: ",
            PromptKind::Export(Exported::Matches) => "write all that passes to: ",
            PromptKind::Export(Exported::Everything) => "write the whole log to: ",
            PromptKind::Mark => "mark this place with a letter: ",
            PromptKind::GoToMark => "go to mark: ",
        }
    }
}

impl LogsPane {
    /// Rows that the open input takes from the body.
    pub(super) fn prompt_height(&self) -> u16 {
        match &self.prompt {
            None => 0,
            Some(prompt) => 1 + u16::from(prompt.error.is_some()),
        }
    }

    /// The text being typed; marks have none.
    pub(super) fn input(&self) -> Option<&LineInput> {
        match self.prompt.as_ref()?.kind {
            PromptKind::Filter { .. } => Some(&self.inputs.filter),
            PromptKind::Search => Some(&self.inputs.search),
            PromptKind::Comment => Some(&self.inputs.comment),
            PromptKind::Fields => Some(&self.inputs.fields),
            PromptKind::Export(_) => Some(&self.inputs.export),
            PromptKind::Mark | PromptKind::GoToMark => None,
        }
    }

    fn input_mut(&mut self, kind: PromptKind) -> Option<&mut LineInput> {
        match kind {
            PromptKind::Filter { .. } => Some(&mut self.inputs.filter),
            PromptKind::Search => Some(&mut self.inputs.search),
            PromptKind::Comment => Some(&mut self.inputs.comment),
            PromptKind::Fields => Some(&mut self.inputs.fields),
            PromptKind::Export(_) => Some(&mut self.inputs.export),
            PromptKind::Mark | PromptKind::GoToMark => None,
        }
    }

    fn open_prompt(&mut self, cx: &Context<'_>, kind: PromptKind, text: &str) {
        let before = Before {
            chips: self.chips.clone(),
            search: self.search.clone(),
            detour: self.detour.clone(),
            reading: self.reading.clone(),
            page: self.feed.page.rows.clone(),
            tail: self.feed.tail.rows.clone(),
        };
        if let Some(input) = self.input_mut(kind) {
            input.set_text(text);
        }
        self.prompt = Some(Prompt { kind, error: None, completing: None, before });
        // The input takes a row: what is selected must not be under it.
        self.settle(cx);
    }

    /// Opens the input for a new chip.
    pub(super) fn open_filter(&mut self, cx: &Context<'_>, out: bool) -> Vec<Effect> {
        self.chips.deselect();
        self.open_prompt(cx, PromptKind::Filter { out, chip: None }, "");
        Vec::new()
    }

    /// Opens the input on the selected chip.
    pub(super) fn edit_chip(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(at) = self.chips.selected() else { return Vec::new() };
        let (text, out) = self.chips.editable(at);
        self.open_prompt(cx, PromptKind::Filter { out, chip: Some(at) }, &text);
        Vec::new()
    }

    pub(super) fn open_search(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        self.open_prompt(cx, PromptKind::Search, "");
        Vec::new()
    }

    pub(super) fn open_comment(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.current_record().is_none() {
            return vec![Notice::warn("no record to pin here")];
        }
        // The record that is pinned is the one on the screen now, not what arrives while the comment is typed.
        self.pause(cx);
        self.open_prompt(cx, PromptKind::Comment, "");
        Vec::new()
    }

    pub(super) fn open_fields(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let names = self.fields.names().join(", ");
        self.open_prompt(cx, PromptKind::Fields, &names);
        Vec::new()
    }

    /// Asks where records are to be written.
    pub(super) fn open_export(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.exporting.is_some() {
            return vec![Notice::info("a file is being written: wait for it, or Esc stops it")];
        }
        if self.rows().rows.is_empty() {
            return vec![Notice::warn("no record to write")];
        }
        let name = self.proposed_file(cx);
        self.open_prompt(cx, PromptKind::Export(self.exported(cx)), "");
        // Typing replaces it, as wherever something is proposed; a key that moves keeps it.
        self.inputs.export.propose(&name);
        Vec::new()
    }

    pub(super) fn open_mark(&mut self, cx: &Context<'_>, go: bool) -> Vec<Effect> {
        let kind = if go { PromptKind::GoToMark } else { PromptKind::Mark };
        if !go {
            if self.current().is_none() {
                return vec![Notice::warn("no record to mark here")];
            }
            self.pause(cx);
        }
        self.open_prompt(cx, kind, "");
        Vec::new()
    }

    /// Takes a key of the open input.
    pub(super) fn prompt_key(&mut self, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
        let Some(kind) = self.prompt.as_ref().map(|it| it.kind) else { return Vec::new() };
        if key.code == KeyCode::Esc {
            return self.cancel(cx);
        }
        if matches!(kind, PromptKind::Mark | PromptKind::GoToMark) {
            return self.mark_key(cx, kind, key);
        }
        if key.code == KeyCode::Enter {
            return self.accept(cx, kind);
        }
        if matches!(key.code, KeyCode::Tab | KeyCode::BackTab) && matches!(kind, PromptKind::Filter { .. }) {
            return self.complete(cx, kind, key.code == KeyCode::Tab);
        }
        if let Some(prompt) = &mut self.prompt {
            prompt.completing = None;
        }
        let Some(input) = self.input_mut(kind) else { return Vec::new() };
        // Backspace in an empty input closes it, as in less.
        if key.code == KeyCode::Backspace && input.text().is_empty() {
            return self.cancel(cx);
        }
        let before = input.text().to_string();
        input.key(key);
        cut(input);
        if input.text() == before { Vec::new() } else { self.typed(cx, kind) }
    }

    /// Completes the last word, and with every further Tab to another one.
    fn complete(&mut self, cx: &Context<'_>, kind: PromptKind, forwards: bool) -> Vec<Effect> {
        let begun = self.prompt.as_mut().and_then(|it| it.completing.take());
        let completion = match begun {
            Some(mut completion) => {
                completion.step(forwards);
                Some(completion)
            }
            None => self.input().and_then(|it| Completion::begin(self, cx, it.text())),
        };
        let Some(completion) = completion else { return Vec::new() };
        if let Some(input) = self.input_mut(kind) {
            input.set_text(&completion.text());
        }
        if let Some(prompt) = &mut self.prompt {
            prompt.completing = Some(completion);
        }
        self.typed(cx, kind)
    }

    /// Takes a paste into the open input.
    pub(super) fn prompt_paste(&mut self, cx: &Context<'_>, text: &str) -> Vec<Effect> {
        let Some(kind) = self.prompt.as_ref().map(|it| it.kind) else { return Vec::new() };
        let Some(input) = self.input_mut(kind) else { return Vec::new() };
        input.paste(text);
        cut(input);
        self.typed(cx, kind)
    }

    /// The stack with what was typed, in which saved queries may be called by their names.
    fn stack_with(&self, before: &Chips, chip: Option<usize>, out: bool, text: &str) -> Result<Chips, String> {
        match self.recall.is_called(text) {
            true if out => Err("a saved query can only be shown, not hidden: it may hold several chips".to_string()),
            true => before.with_query(chip, &self.recall.expand(text)?),
            false => before.with(chip, out, text),
        }
    }

    /// Shows what the text means so far.
    fn typed(&mut self, cx: &Context<'_>, kind: PromptKind) -> Vec<Effect> {
        let Some(prompt) = &self.prompt else { return Vec::new() };
        let text = self.input().map(|it| it.text().to_string()).unwrap_or_default();
        let outcome = match kind {
            PromptKind::Filter { out, chip } => self.stack_with(&prompt.before.chips, chip, out, &text).map(|chips| {
                let changed = chips.query() != self.chips.query();
                self.chips = chips;
                changed
            }),
            PromptKind::Search => check_search(&text).map(|()| {
                let changed = self.search != text;
                self.search = text;
                changed
            }),
            PromptKind::Fields => fields::parse(&text).map(|_| false),
            PromptKind::Comment | PromptKind::Export(_) | PromptKind::Mark | PromptKind::GoToMark => Ok(false),
        };
        let (changed, error) = match outcome {
            Ok(changed) => (changed, None),
            Err(error) => (false, Some(error)),
        };
        if let Some(prompt) = &mut self.prompt {
            prompt.error = error;
        }
        self.settle(cx);
        if !changed {
            return Vec::new();
        }
        if matches!(kind, PromptKind::Filter { .. }) {
            self.detour = None;
        }
        self.requery(cx)
    }

    /// Enter: keeps what was typed.
    fn accept(&mut self, cx: &Context<'_>, kind: PromptKind) -> Vec<Effect> {
        let text = self.input().map(|it| it.text().to_string()).unwrap_or_default();
        if self.prompt.as_ref().is_some_and(|it| it.error.is_some()) {
            return vec![Notice::warn("the text is not valid yet: correct it, or Esc to leave it")];
        }
        if let Some(input) = self.input_mut(kind) {
            input.submit();
        }
        let closed = self.prompt.take();
        self.settle(cx);
        match kind {
            PromptKind::Filter { .. } => {
                if let Some(closed) = closed {
                    self.note_change(&closed.before.chips);
                }
                Vec::new()
            }
            PromptKind::Search if text.is_empty() => {
                // Enter on nothing searches again for what was searched before, as in less.
                self.search = closed.map(|it| it.before.search).unwrap_or_default();
                if self.search.is_empty() { Vec::new() } else { self.first_hit(cx) }
            }
            PromptKind::Search => self.first_hit(cx),
            PromptKind::Comment => self.pin(cx, &text),
            PromptKind::Fields => self.set_fields(cx, &text),
            PromptKind::Export(what) => self.export(cx, what, &text),
            PromptKind::Mark | PromptKind::GoToMark => Vec::new(),
        }
    }

    /// Goes to the hit nearest to the reader: the newest one while following.
    fn first_hit(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        match self.reading {
            Reading::Following => self.find(cx, Find::Search, true),
            Reading::Paused(_) if self.current_record().is_some_and(|it| !it.hits.is_empty()) => Vec::new(),
            Reading::Paused(_) => self.find(cx, Find::Search, false),
        }
    }

    /// Esc: everything is as it was before.
    fn cancel(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        let Some(Prompt { kind, before, .. }) = self.prompt.take() else { return Vec::new() };
        if let Some(input) = self.input_mut(kind) {
            input.set_text("");
        }
        let changed = self.chips.query() != before.chips.query()
            || self.search != before.search
            || self.detour.is_some() != before.detour.is_some();
        self.detour = before.detour;
        self.chips = before.chips;
        self.search = before.search;
        if changed {
            // The old rows are shown at once; fresh ones of the old query follow.
            self.reading = before.reading;
            self.feed.page.rows = before.page;
            self.feed.tail.rows = before.tail;
        }
        self.settle(cx);
        if changed { self.requery(cx) } else { Vec::new() }
    }

    fn mark_key(&mut self, cx: &Context<'_>, kind: PromptKind, key: &Key) -> Vec<Effect> {
        let Some(letter) = key.typed() else { return Vec::new() };
        self.prompt = None;
        self.settle(cx);
        match (kind, letter) {
            (PromptKind::GoToMark, '\'') => self.jump_home(cx),
            (PromptKind::GoToMark, _) => self.jump_to_mark(cx, letter),
            (_, 'a'..='z' | 'A'..='Z') => self.set_mark(letter),
            _ => vec![Notice::warn(format!("a mark is a letter, not `{letter}`"))],
        }
    }
}

/// What the keys of an input mean.
pub fn hints(prompt: Option<&Prompt>) -> &'static [(&'static str, &'static str)] {
    match prompt.map(|it| it.kind) {
        Some(PromptKind::Filter { .. }) => &[
            ("enter", "keep"),
            ("esc", "as before"),
            ("tab", "complete"),
            ("text", "/re/ level>=warn source:api status>=500 -out"),
        ],
        Some(PromptKind::Search) => &[("enter", "go to the hit"), ("esc", "as before"), ("up", "earlier")],
        Some(PromptKind::Export(_)) => {
            &[("enter", "write"), ("esc", "cancel"), ("text", "a name ending in .json: one object a record")]
        }
        Some(PromptKind::Comment) => &[("enter", "pin"), ("esc", "cancel")],
        Some(PromptKind::Fields) => &[("enter", "show"), ("esc", "cancel"), ("text", "status, user; nothing for none")],
        Some(PromptKind::Mark | PromptKind::GoToMark) => &[("a-z", "mark"), ("esc", "cancel")],
        None => &[("esc", "back")],
    }
}

/// Says what is wrong with a search.
fn check_search(text: &str) -> Result<(), String> {
    Pattern::regex(text).map(|_| ())
}

fn cut(input: &mut LineInput) {
    if let Some((at, _)) = input.text().char_indices().nth(INPUT_MAX) {
        let text = input.text()[..at].to_string();
        input.set_text(&text);
    }
}
