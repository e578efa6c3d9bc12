//! Finds a command by a few letters of its name or its words.

use std::cmp::Reverse;

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::command::Command;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::key::{Key, KeyCode};
use crate::panes::PaneId;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::list::{self, Mark};
use crate::widgets::popup;
use crate::widgets::scroll::{keep_visible, moved};
use crate::widgets::wrap::cut;

/// The state of the palette.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Palette {
    input: LineInput,
    // The best match while `None`, so that typing always leads to what Enter runs.
    selected: Option<Command>,
}

impl Palette {
    pub(super) fn paste(&mut self, text: &str) {
        self.input.paste(text);
        self.selected = None;
    }

    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let found = self.found(model.focus);
        let selected = self.selected.filter(|it| found.contains(it)).or(found.first().copied());
        let step = match (key.code, key.ctrl) {
            (KeyCode::Enter, _) => return selected.map_or(Answer::Stay, Answer::Run),
            (KeyCode::Esc, _) => return Answer::Close,
            (KeyCode::Down | KeyCode::Tab, _) | (KeyCode::Char('n' | 'j'), true) => 1,
            (KeyCode::Up | KeyCode::BackTab, _) | (KeyCode::Char('k'), true) => -1,
            (KeyCode::PageDown, _) => 10,
            (KeyCode::PageUp, _) => -10,
            _ => {
                self.input.key(key);
                self.selected = None;
                return Answer::Stay;
            }
        };
        self.selected = moved(&found, selected.as_ref(), step).copied();
        Answer::Stay
    }

    /// The commands that match, best first. Without letters: the focused pane's, then the global, then the others'.
    fn found(&self, focus: PaneId) -> Vec<Command> {
        let mut commands = Command::all();
        commands.sort_by_key(|it| match it.pane() {
            Some(pane) if pane == focus => 0,
            None => 1,
            Some(_) => 2,
        });
        let pattern = Pattern::parse(self.input.text(), CaseMatching::Smart, Normalization::Smart);
        if pattern.atoms.is_empty() {
            return commands;
        }
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut scored: Vec<(Command, u32)> =
            commands.into_iter().filter_map(|it| Some((it, score(&pattern, &mut matcher, it)?))).collect();
        // Stable: equal scores keep the order above.
        scored.sort_by_key(|(_, score)| Reverse(*score));
        scored.into_iter().map(|(it, _)| it).collect()
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let height = (screen.height * 2 / 3).max(8);
        let inner = popup::frame(theme, "commands", popup::centred(screen, 84, height), buf);
        if inner.height < 2 {
            return None;
        }
        let found = self.found(model.focus);
        let selected = self.selected.and_then(|it| found.iter().position(|id| *id == it)).unwrap_or(0);
        let cursor = input::draw(theme, "> ", &self.input, Rect { height: 1, ..inner }, buf);
        let rows = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
        let top = keep_visible(0, selected, found.len(), usize::from(rows.height));
        let names = found.iter().map(|it| it.spec().name.width()).max().unwrap_or(0);
        for ((at, command), row) in found.iter().enumerate().skip(top).zip(rows.rows()) {
            let line = entry(model, theme, *command, names, usize::from(row.width));
            list::row(theme, &line, Mark::of(at == selected, true), row, buf);
        }
        if found.is_empty() {
            let text = "no command matches";
            buf.set_stringn(rows.x, rows.y, text, rows.width as usize, theme.style(Role::TextDim));
        }
        Some(cursor)
    }
}

fn score(pattern: &Pattern, matcher: &mut Matcher, command: Command) -> Option<u32> {
    let spec = command.spec();
    let mut chars = Vec::new();
    let name = pattern.score(Utf32Str::new(spec.name, &mut chars), matcher);
    let doc = pattern.score(Utf32Str::new(spec.doc, &mut chars), matcher);
    // Somebody who types a name means the name: a hit there counts half as much again.
    name.map(|it| it + it / 2).max(doc)
}

fn entry(model: &Model, theme: &Theme, command: Command, names: usize, width: usize) -> Line<'static> {
    let spec = command.spec();
    let keys = model.keymap.label(command).unwrap_or_default();
    let name = format!("{:<names$}  ", spec.name);
    let room = width.saturating_sub(name.width() + keys.width() + 1);
    let doc = cut(spec.doc, room, theme.ascii);
    let gap = " ".repeat(room.saturating_sub(doc.width()) + 1);
    Line::from(vec![
        Span::styled(name, theme.style(Role::TextStrong)),
        Span::styled(doc, theme.style(Role::Text)),
        Span::raw(gap),
        Span::styled(keys, theme.style(Role::Key)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::command::GlobalCommand;

    fn first(typed: &str) -> Option<&'static str> {
        let mut palette = Palette::default();
        palette.paste(typed);
        palette.found(PaneId::Logs).first().map(|it| it.spec().name)
    }

    #[test]
    fn a_few_letters_find_a_command_by_name_or_by_words() {
        assert_eq!(first("zoo"), Some("zoom"));
        assert_eq!(first("prv pane"), Some("previous-pane"));
        assert_eq!(first("selects nothing at all"), None);
        assert_eq!(first("shell"), Some(Command::Global(GlobalCommand::Suspend).spec().name));
    }

    #[test]
    fn without_letters_the_focused_pane_comes_first() {
        assert!(first("").is_some_and(|it| it.starts_with("logs.")));
    }
}
