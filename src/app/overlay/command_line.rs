//! The line behind `:`, with completion.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::app::overlay::verbs::{VERBS, words};
use crate::domain::key::{Key, KeyCode};
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::list::{self, Mark};

/// Completions shown above the line.
const SHOWN: usize = 8;

/// The state of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// What is typed, with the lines before it.
    pub input: LineInput,
    // What was typed when Tab was first pressed, and which completion of it stands in the line.
    completing: Option<(String, usize)>,
}

impl CommandLine {
    pub(crate) fn new(history: LineInput) -> Self {
        Self { input: history, completing: None }
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.input.paste(text);
        self.completing = None;
    }

    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        match key.code {
            KeyCode::Enter => return Answer::Line(self.input.submit()),
            KeyCode::Esc => {
                self.input.set_text("");
                return Answer::Close;
            }
            // Backing out of an empty line, as in vi.
            KeyCode::Backspace if self.input.text().is_empty() => return Answer::Close,
            KeyCode::Tab => self.complete(model, 1),
            KeyCode::BackTab => self.complete(model, -1),
            _ => {
                self.input.key(key);
                self.completing = None;
            }
        }
        Answer::Stay
    }

    fn complete(&mut self, model: &Model, step: isize) {
        let typed = self.typed().to_string();
        let found = completions(model, &typed);
        if found.is_empty() {
            return;
        }
        let count = found.len() as isize;
        let next = match self.completing {
            Some((_, at)) => (at as isize + step).rem_euclid(count),
            None if step > 0 => 0,
            None => count - 1,
        };
        self.input.set_text(&found[next as usize].0);
        self.completing = Some((typed, next as usize));
    }

    /// What the person typed, also while a completion of it stands in the line.
    fn typed(&self) -> &str {
        self.completing.as_ref().map_or(self.input.text(), |(typed, _)| typed)
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        if screen.height == 0 {
            return None;
        }
        let line = Rect { y: screen.bottom() - 1, height: 1, ..screen };
        Clear.render(line, buf);
        let cursor = input::draw(theme, ":", &self.input, line, buf);
        let found = completions(model, self.typed());
        let chosen = self.completing.as_ref().map(|(_, at)| *at);
        let first = chosen.map_or(0, |at| at.saturating_sub(SHOWN - 1));
        let shown = found.len().min(SHOWN).min(usize::from(line.y));
        let above = Rect { y: line.y - shown as u16, height: shown as u16, ..screen };
        Clear.render(above, buf);
        buf.set_style(above, theme.style(Role::Popup));
        for ((at, (text, doc)), row) in found.iter().enumerate().skip(first).zip(above.rows()) {
            let line = Line::from(vec![
                Span::styled(format!(" {text:<28} "), theme.style(Role::TextStrong)),
                Span::styled(doc.clone(), theme.style(Role::TextDim)),
            ]);
            list::row(theme, &line, Mark::of(chosen == Some(at), true), row, buf);
        }
        Some(cursor)
    }
}

/// Times worth jumping to behind `goto` and `past`.
const GOTO_TIMES: &[(&str, &str)] = &[
    ("-5m", "five minutes ago"),
    ("-15m", "a quarter of an hour ago"),
    ("-1h", "an hour ago"),
    ("-6h", "six hours ago"),
    ("-1d", "a day ago"),
];

/// Chips worth typing behind `filter`.
const FILTER_CHIPS: &[(&str, &str)] = &[
    ("level>=warn", "warnings and worse"),
    ("level>=error", "errors and worse"),
    ("level=info", "exactly this level"),
    ("since:-15m", "not older than this"),
    ("until:-5m", "older than this"),
];

/// Lines made of what stands before, and each word that begins as typed.
fn arguments(before: &str, typed: &str, words: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let found: Vec<_> = words.filter(|(word, _)| word.starts_with(typed) && word != typed).collect();
    if found.is_empty() {
        let verb = VERBS.iter().find(|it| before.split(' ').next() == Some(it.name));
        return verb.map(|it| (format!("{before}{typed}"), format!("{}: {}", it.usage, it.doc))).into_iter().collect();
    }
    found.into_iter().map(|(word, doc)| (format!("{before}{word}"), doc)).collect()
}

/// Whole lines that begin as typed, with what each does.
fn completions(model: &Model, typed: &str) -> Vec<(String, String)> {
    if let Some(name) = typed.strip_prefix("theme ") {
        let themes = model.themes.iter().filter(|it| it.name.starts_with(name.trim_start()));
        return themes.map(|it| (format!("theme {}", it.name), String::new())).collect();
    }
    if let Some(typed) = typed.strip_prefix("goto ") {
        return arguments("goto ", typed, GOTO_TIMES.iter().map(|(it, doc)| (it.to_string(), doc.to_string())));
    }
    if let Some(typed) = typed.strip_prefix("past ") {
        return arguments("past ", typed, GOTO_TIMES.iter().map(|(it, doc)| (it.to_string(), doc.to_string())));
    }
    if let Some(query) = typed.strip_prefix("filter ") {
        // Only the chip being typed is completed; a sign before it stays.
        let at = query.rfind(' ').map_or(0, |at| at + 1);
        let at = at + query[at..].find(|it| !matches!(it, '-' | '!' | '~')).unwrap_or(query.len() - at);
        let sources = model.board.logs.sources.iter().map(|it| {
            let name = sanitise::text(it.id.name());
            let word = if name.contains(' ') { format!("source:\"{name}\"") } else { format!("source:{name}") };
            (word, "records of this source".to_string())
        });
        let chips = FILTER_CHIPS.iter().map(|(it, doc)| (it.to_string(), doc.to_string())).chain(sources);
        return arguments(&format!("filter {}", &query[..at]), &query[at..], chips);
    }
    // Behind a verb stands its usage, nothing that could be completed.
    if let Some(verb) = VERBS.iter().find(|it| typed.strip_prefix(it.name).is_some_and(|rest| rest.starts_with(' '))) {
        return vec![(typed.to_string(), format!("{}: {}", verb.usage, verb.doc))];
    }
    let words = words(model.focus).into_iter();
    words.filter(|(name, _)| name.starts_with(typed)).map(|(name, doc)| (name, doc.to_string())).collect()
}
