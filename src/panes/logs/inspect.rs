//! One record in full: where and when it was written, its object or fields one below the other, each to be copied
//! or filtered by.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::effect::{Effect, Notice};
use crate::domain::format;
use crate::domain::log::{ALL_FIELDS, Position, Record};
use crate::domain::query::{Query, level_word};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::logs::object::{self, Entry, Kind};
use crate::panes::logs::{LogsCommand, LogsPane, selection, words};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::list::{self, Mark};
use crate::widgets::scroll::keep_visible;
use crate::widgets::wrap;

/// Cells of the names of fields, at most: what stands right of them matters more.
const NAME_CELLS: usize = 20;

/// The record that is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspect {
    position: Position,
    entries: Vec<Entry>,
    /// The entry that commands act on.
    at: usize,
    /// Topmost line that is shown.
    top: usize,
}

impl Inspect {
    fn of(cx: &Context<'_>, record: &Record) -> Self {
        let name = words::source_name(cx.board, &record.position.source);
        let mut entries = Vec::new();
        if let Some(time) = record.position.time {
            let text = format!("{} ({})", format::full(time, cx.zone), format::ago(cx.now, time));
            entries
                .push(Entry { copy: time.to_string(), ..Entry::field("time", &text, Some(format!("since:{time}"))) });
        }
        let level = record.level.map(|it| format!("level={}", level_word(it)));
        if let Some(word) = record.level.map(level_word) {
            entries.push(Entry::field("level", word, level.clone()));
        }
        let is_plain = !name.contains([' ', '"']);
        entries.push(Entry::field("source", name, is_plain.then(|| format!("source:{name}"))));
        if let Some(cut) = record.cut_words() {
            entries.push(Entry::field("cut", &format!("{cut} not shown"), None));
        }
        entries.push(Entry::plain(""));
        entries.extend(object::entries(selection::original(record)).into_iter().map(|it| {
            // What a logger calls its levels may be a number; the level that was read of it is a word.
            match it.filter.as_deref().is_some_and(|it| it.starts_with("level=")) {
                true => Entry { filter: level.clone(), ..it },
                false => it,
            }
        }));
        let at = entries.iter().position(|it| it.value.is_empty()).map_or(0, |at| at + 1).min(entries.len() - 1);
        Self { position: record.position.clone(), entries, at, top: 0 }
    }

    fn entry(&self) -> &Entry {
        &self.entries[self.at]
    }

    /// Goes some entries on, over those that are blank.
    fn step(&mut self, steps: i64) {
        let last = self.entries.len() as i64 - 1;
        let mut at = (self.at as i64).saturating_add(steps).clamp(0, last) as usize;
        if self.entries[at].value.is_empty() {
            at = if steps > 0 { at + 1 } else { at.saturating_sub(1) }.min(last as usize);
        }
        self.at = at;
    }

    /// Everything as text, the object indented.
    fn text(&self) -> String {
        let body = self.entries.iter().skip_while(|it| !it.value.is_empty()).skip(1);
        let line = |it: &Entry| {
            let key = it.key.as_ref().map_or(String::new(), |key| format!("{key}: "));
            format!("{}{key}{}{}", "  ".repeat(it.depth), it.value, if it.comma { "," } else { "" })
        };
        body.map(line).collect::<Vec<_>>().join("\n")
    }

    /// The lines of each entry, at this width.
    fn lines(&self, theme: &Theme, width: usize) -> Vec<(usize, Line<'static>)> {
        let is_field = |it: &&Entry| it.depth == 0 && it.key.as_ref().is_some_and(|key| !key.starts_with('"'));
        let names = self.entries.iter().filter(is_field).filter_map(|it| it.key.as_ref().map(|key| key.width()));
        let names = names.max().unwrap_or(0).min(NAME_CELLS);
        let mut lines = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let head = match &entry.key {
                Some(key) if is_field(&entry) => {
                    let key = wrap::cut(&sanitise::text(key), names, theme.ascii);
                    format!("{key}{}  ", " ".repeat(names.saturating_sub(key.width())))
                }
                Some(key) => format!("{}{}: ", "  ".repeat(entry.depth), sanitise::text(key)),
                None => "  ".repeat(entry.depth),
            };
            let head = wrap::cut(&head, width / 2, theme.ascii);
            let room = width.saturating_sub(head.width()).max(1);
            let value = sanitise::text(&entry.value);
            let comma = if entry.comma { "," } else { "" };
            for (row, text) in wrap::wrap(&format!("{value}{comma}"), room).into_iter().enumerate() {
                let before = if row == 0 { head.clone() } else { " ".repeat(head.width()) };
                let role = role(entry.kind);
                lines.push((
                    at,
                    Line::from(vec![
                        Span::styled(before, theme.style(Role::LogSource)),
                        Span::styled(text, theme.style(role)),
                    ]),
                ));
            }
        }
        lines
    }

    /// Keeps the entry that is looked at on the screen.
    fn settle(&mut self, cx: &Context<'_>, height: usize) {
        let lines = self.lines(&Theme::mono(), usize::from(cx.width));
        let own: Range<usize> = match lines.iter().position(|(at, _)| *at == self.at) {
            Some(first) => first..first + lines.iter().filter(|(at, _)| *at == self.at).count(),
            None => 0..1,
        };
        let height = height.max(1);
        self.top = keep_visible(self.top, own.end - 1, lines.len(), height);
        self.top = keep_visible(self.top, own.start, lines.len(), height);
    }
}

fn role(kind: Kind) -> Role {
    match kind {
        Kind::Text | Kind::Plain => Role::Text,
        Kind::Number => Role::LogInfo,
        Kind::Word => Role::LogWarn,
        Kind::Brace => Role::TextDim,
    }
}

impl LogsPane {
    /// Shows the current record in full, or goes back to the list.
    pub(super) fn inspect(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.inspected.take().is_some() {
            return Vec::new();
        }
        if self.current_record().is_none() {
            return vec![Notice::warn("no record here")];
        }
        self.pause(cx);
        self.inspected = self.current_record().map(|it| Inspect::of(cx, it));
        self.ask_fields()
    }

    /// Asks for the fields of a record that is no object, or one whose members are lists of fields: the engine knows
    /// the formats.
    fn ask_fields(&mut self) -> Vec<Effect> {
        let Some(shown) = &self.inspected else { return Vec::new() };
        let is_object = shown.entries.iter().any(|it| it.kind == Kind::Brace);
        let has_lists = || shown.entries.iter().any(|it| it.key.as_deref() == Some("\"attributes\""));
        if is_object && !has_lists() {
            return Vec::new();
        }
        vec![self.feed.ask_fields(&shown.position, vec![ALL_FIELDS.to_string()])]
    }

    /// Puts the values of fields below the record, or above an object, where they do not stand already.
    pub(super) fn fields_came(&mut self, record: &Record) -> Vec<Effect> {
        let Some(shown) = self.inspected.as_mut().filter(|it| it.position == record.position) else {
            return Vec::new();
        };
        let object = shown.entries.iter().position(|it| it.kind == Kind::Brace);
        let mut found: Vec<Entry> = Vec::new();
        for (name, value) in record.fields.iter().filter(|(_, value)| !value.is_empty() && value != "-") {
            let is_it = |it: &Entry| it.depth == 0 && it.key.as_deref() == Some(name) && it.copy == *value;
            // The message of an access line is its request.
            let is_said = name == "message" && found.iter().any(|it| it.copy == *value);
            if !is_said && !shown.entries.iter().chain(&found).any(is_it) {
                found.push(Entry::field(name, value, object::comparison(name, value)));
            }
        }
        let at = object.unwrap_or(shown.entries.len());
        if shown.at >= at {
            shown.at += found.len();
        }
        shown.entries.splice(at..at, found);
        Vec::new()
    }

    /// Rows that show the record: all but those of an open input.
    fn inspect_height(&self, cx: &Context<'_>) -> u16 {
        cx.height.saturating_sub(self.prompt_height()).max(1)
    }

    /// Shows what has become the current record meanwhile.
    pub(super) fn inspect_again(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.inspected.is_none() {
            return Vec::new();
        }
        self.inspected = self.current_record().map(|it| Inspect::of(cx, it));
        self.ask_fields()
    }

    /// What a command means while a record is shown in full; `None` when it means what it always does.
    pub(super) fn inspect_command(&mut self, cx: &Context<'_>, command: LogsCommand) -> Option<Vec<Effect>> {
        use LogsCommand as C;
        let height = usize::from(self.inspect_height(cx));
        let page = i64::from(self.inspect_height(cx).max(2)) - 1;
        let shown = self.inspected.as_mut()?;
        match command {
            C::Down => shown.step(1),
            C::Up => shown.step(-1),
            C::HalfDown => shown.step((page + 1) / 2),
            C::HalfUp => shown.step(-(page + 1) / 2),
            C::PageDown => shown.step(page),
            C::PageUp => shown.step(-page),
            C::Oldest => shown.step(i64::MIN),
            C::Newest => shown.step(i64::MAX),
            C::Open => return Some(self.filter_by_entry(cx, false)),
            C::FilterOut => return Some(self.filter_by_entry(cx, true)),
            C::Copy => {
                let entry = shown.entry();
                let what = entry.key.as_ref().map_or("1 line".to_string(), |it| sanitise::text(it.trim_matches('"')));
                return Some(vec![Effect::copy(&entry.copy, what)]);
            }
            C::Export => return Some(vec![Effect::copy(&shown.text(), "1 record")]),
            C::Left | C::Right => {
                let mut effects = self.step(cx, if command == C::Right { 1 } else { -1 });
                effects.extend(self.inspect_again(cx));
                return Some(effects);
            }
            C::NextError | C::PreviousError | C::NextHit | C::PreviousHit | C::Pin | C::PinComment | C::Mark => {
                return None;
            }
            C::Inspect => {
                self.inspected = None;
                return Some(Vec::new());
            }
            // Everything else is about the list.
            _ => {
                self.inspected = None;
                return None;
            }
        }
        shown.settle(cx, height);
        Some(Vec::new())
    }

    /// Shows only records with the value that is looked at, or hides them.
    fn filter_by_entry(&mut self, cx: &Context<'_>, out: bool) -> Vec<Effect> {
        let Some(filter) = self.inspected.as_ref().and_then(|it| it.entry().filter.clone()) else {
            return vec![Notice::info("nothing to filter by here: go to a field")];
        };
        let query = Query::parse(&filter).map_err(|error| error.to_string());
        let chips = query.and_then(|query| {
            query.chips.into_iter().try_fold(self.chips.clone(), |stack, mut chip| {
                chip.out = out;
                stack.push(chip)
            })
        });
        match chips {
            Ok(chips) => {
                self.inspected = None;
                self.set_chips(cx, chips)
            }
            Err(error) => vec![Notice::error(error)],
        }
    }

    /// Goes to the entry at a line of the body, or scrolls.
    pub(super) fn inspect_mouse(&mut self, cx: &Context<'_>, line: Option<u16>, scroll: i64) {
        let height = usize::from(self.inspect_height(cx));
        let Some(shown) = self.inspected.as_mut() else { return };
        match line {
            Some(line) => {
                let lines = shown.lines(&Theme::mono(), usize::from(cx.width));
                if let Some((at, _)) = lines.get(shown.top + usize::from(line)) {
                    shown.at = *at;
                }
            }
            None => shown.step(scroll),
        }
        shown.settle(cx, height);
    }
}

/// Draws the record.
pub fn draw(shown: &Inspect, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let lines = shown.lines(theme, usize::from(area.width));
    let top = shown.top.min(lines.len().saturating_sub(1));
    for ((at, line), row) in lines.iter().skip(top).zip(area.rows()) {
        list::row(theme, line, Mark::of(*at == shown.at, cx.focused), row, buf);
    }
}
