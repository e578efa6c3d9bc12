//! The form that silences, plans a maintenance, or acknowledges for longer: a few fields, with what they come to below.
//!
//! Everything typed is read at every key, so that nobody finds out afterwards that a matcher fitted nothing.

use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr;

use crate::app::effect::Effect;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::app::several;
use crate::domain::alert::policy;
use crate::domain::alert::quiet::{self, Maintenance, MaintenanceWindow, Matcher, Silence};
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::key::{Key, KeyCode};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::popup;
use crate::widgets::wrap::{cut, wrap_at_blanks};

/// Columns of the box.
const WIDTH: u16 = 76;
/// Cells of the labels.
const LABEL_CELLS: usize = 7;
/// Characters of one field: a pasted file must not become a comment.
const FIELD_MAX_CHARS: usize = 500;
/// Nobody means to be deaf for longer than this; what is planned belongs into the config.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);
/// Names of probes in the preview.
const NAMED_MAX: usize = 6;

/// The state of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertForm {
    kind: FormKind,
    fields: Vec<Field>,
    at: usize,
}

/// What the form is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormKind {
    /// Not to tell what fits, for a time.
    Silence,
    /// Work that is done on what fits, now or later.
    Maintenance,
    /// Somebody has seen these.
    Acknowledge(Vec<ProbeId>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    label: &'static str,
    hint: &'static str,
    input: LineInput,
}

impl Field {
    fn new(label: &'static str, hint: &'static str, text: &str) -> Self {
        let mut input = LineInput::default();
        input.set_text(text);
        Self { label, hint, input }
    }

    fn text(&self) -> &str {
        self.input.text().trim()
    }
}

const WHAT: &str = "probe=api group=~edge|db team!=core";
const LENGTH: &str = "30m, 2h, 1d, or a time: 18:00";

impl AlertForm {
    /// A silence of what fits these matchers.
    pub fn silence(matchers: &str) -> Self {
        let fields = vec![
            Field::new("what", WHAT, matchers),
            Field::new("for", LENGTH, "1h"),
            Field::new("why", "what others should know", ""),
        ];
        // The matchers are proposed; how long is the question.
        Self { kind: FormKind::Silence, fields, at: 1 }
    }

    /// A maintenance of what fits these matchers.
    pub fn maintenance(matchers: &str) -> Self {
        let fields = vec![
            Field::new("name", "how others call it", ""),
            Field::new("what", WHAT, matchers),
            Field::new("from", "now, 18:00, 2026-11-23 02:00", "now"),
            Field::new("for", LENGTH, "1h"),
        ];
        Self { kind: FormKind::Maintenance, fields, at: 0 }
    }

    /// An acknowledgement of these probes, with its end.
    pub fn acknowledge(probes: Vec<ProbeId>) -> Self {
        let fields = vec![Field::new("until", "fine, change, 2h, 18:00", "fine")];
        Self { kind: FormKind::Acknowledge(probes), fields, at: 0 }
    }

    fn title(&self) -> String {
        match &self.kind {
            FormKind::Silence => "silence".into(),
            FormKind::Maintenance => "maintenance".into(),
            FormKind::Acknowledge(probes) => match probes.as_slice() {
                [one] => format!("acknowledge {}", sanitise::text(one.name())),
                many => format!("acknowledge {} probes", many.len()),
            },
        }
    }

    fn field(&self, label: &str) -> &str {
        self.fields.iter().find(|it| it.label == label).map_or("", Field::text)
    }

    pub(super) fn paste(&mut self, text: &str) {
        let cut: String = text.chars().take(FIELD_MAX_CHARS).collect();
        self.fields[self.at].input.paste(&cut);
    }

    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let count = self.fields.len();
        match (key.code, key.ctrl) {
            (KeyCode::Esc, _) => return Answer::Close,
            (KeyCode::Tab | KeyCode::Down, _) | (KeyCode::Char('n'), true) => self.at = (self.at + 1) % count,
            (KeyCode::BackTab | KeyCode::Up, _) | (KeyCode::Char('p'), true) => self.at = (self.at + count - 1) % count,
            // With a mistake in it the form stays open; the mistake is shown below.
            (KeyCode::Enter, _) => {
                if let Ok(requests) = self.requests(model) {
                    let what = several::what(requests.len(), model.panes.services.selected_group(&model.board));
                    return Answer::Effects(Effect::each(requests, what));
                }
            }
            _ if self.fields[self.at].input.text().chars().count() >= FIELD_MAX_CHARS && key.typed().is_some() => {}
            _ => {
                self.fields[self.at].input.key(key);
            }
        }
        Answer::Stay
    }

    /// What would be asked, or what is wrong with what was typed.
    fn requests(&self, model: &Model) -> Result<Vec<Request>, String> {
        let now = model.now;
        match &self.kind {
            FormKind::Silence => {
                let matchers = matchers(self.field("what"))?;
                if matchers.is_empty() {
                    return Err("a silence needs a matcher, as in `group=edge`".into());
                }
                let until = self.end(model, now)?;
                // Who it is by, the runtime knows.
                let silence = Silence {
                    id: name_by_time("s", now),
                    matchers,
                    from: now,
                    until,
                    by: String::new(),
                    comment: sanitise::text(self.field("why")),
                };
                Ok(vec![Request::Silence(Box::new(silence))])
            }
            FormKind::Maintenance => {
                let matchers = matchers(self.field("what"))?;
                let from = match self.field("from") {
                    "" | "now" => now,
                    text => ahead(model, text)?,
                };
                let until = self.end(model, from)?;
                let name = match self.field("name") {
                    "" => {
                        let is_taken = |name: &str| model.board.alerts.maintenances().any(|it| it.name == name);
                        quiet::name_of(&matchers, from, &model.zone, is_taken)
                    }
                    name => sanitise::text(name),
                };
                if model.board.alerts.maintenances().any(|it| it.name == name) {
                    return Err(format!("there is a maintenance `{name}` already, see `services.quiets`"));
                }
                let window = MaintenanceWindow::Once { from, until };
                let maintenance = Maintenance { name, matchers, window, by: String::new() };
                Ok(vec![Request::Maintain(Box::new(maintenance))])
            }
            FormKind::Acknowledge(probes) => {
                let (sticky, until) = match self.field("until") {
                    "" | "fine" => (true, None),
                    "change" => (false, None),
                    text => (true, Some(end_of(model, now, text)?)),
                };
                let request = |probe: &ProbeId| Request::Acknowledge { probe: probe.clone(), sticky, until };
                Ok(probes.iter().map(request).collect())
            }
        }
    }

    fn end(&self, model: &Model, from: Timestamp) -> Result<Timestamp, String> {
        end_of(model, from, self.field("for"))
    }

    /// What it comes to, in words.
    fn preview(&self, model: &Model) -> Result<String, String> {
        let requests = self.requests(model)?;
        let moment = |it| format::moment(model.now, it, &model.zone);
        let fits = |matchers: &[Matcher]| fits(model, matchers);
        Ok(match requests.first() {
            Some(Request::Silence(it)) => format!("{}; until {}", fits(&it.matchers), moment(it.until)),
            Some(Request::Maintain(it)) => {
                let MaintenanceWindow::Once { from, until } = it.window else { return Ok(String::new()) };
                format!("{}; from {} until {}; recoveries are told", fits(&it.matchers), moment(from), moment(until))
            }
            Some(Request::Acknowledge { sticky, until, .. }) => {
                let until = match (sticky, until) {
                    (_, Some(until)) => moment(*until),
                    (true, None) => "it is fine".into(),
                    (false, None) => "it turns to something else".into(),
                };
                let FormKind::Acknowledge(probes) = &self.kind else { return Ok(String::new()) };
                let is_seen = probes.iter().all(|it| model.board.seen_by(it).is_some());
                let seen = if is_seen { "acknowledged already; from now on " } else { "" };
                format!("{seen}reminders and ladders stop until {until}")
            }
            _ => String::new(),
        })
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let width = WIDTH.min(screen.width);
        let (role, text) = match self.preview(model) {
            Ok(text) => (Role::Text, text),
            Err(error) => (Role::NoticeError, format!("! {error}")),
        };
        let below = wrap_at_blanks(&sanitise::text(&text), usize::from(width.saturating_sub(4)));
        let height = self.fields.len() as u16 + below.len() as u16 + 3;
        let inner = popup::frame(theme, &self.title(), popup::centred(screen, width, height), buf);
        let mut cursor = None;
        let mut rows = inner.rows();
        for (at, (field, row)) in self.fields.iter().zip(rows.by_ref()).enumerate() {
            let label = format!("{:<LABEL_CELLS$}", field.label);
            let place = input::draw(theme, &label, &field.input, row, buf);
            if at == self.at {
                cursor = Some(place);
            }
            if field.input.text().is_empty() {
                let x = row.x + label.width() as u16 + 1;
                let room = row.right().saturating_sub(x) as usize;
                buf.set_stringn(x, row.y, cut(field.hint, room, theme.ascii), room, theme.style(Role::InputHint));
            }
        }
        rows.next();
        for (text, row) in below.iter().zip(rows) {
            buf.set_stringn(row.x, row.y, text, row.width as usize, theme.style(role));
        }
        cursor
    }
}

/// Matchers as people type them, a blank or a comma between; a value with blanks stands in quotes.
fn matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote: Option<char> = None;
    let mut is_open = false;
    for it in text.chars() {
        match quote {
            Some(end) if it == end => quote = None,
            None if matches!(it, '"' | '\'') => quote = Some(it),
            None if it.is_whitespace() || it == ',' => {
                is_open = false;
                continue;
            }
            _ => {}
        }
        if !std::mem::replace(&mut is_open, true) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(it);
        }
    }
    words.iter().map(|it| it.parse()).collect()
}

/// A matcher for one label, as it is typed.
pub fn matcher(name: &str, value: &str) -> String {
    let bare = !value.is_empty() && !value.contains(|it: char| it.is_whitespace() || matches!(it, ',' | '"' | '\''));
    if bare { format!("{name}={value}") } else { format!("{name}=\"{}\"", value.replace('"', "")) }
}

/// Which probes the matchers fit: `fits 3 probes: api, cdn, www`.
fn fits(model: &Model, matchers: &[Matcher]) -> String {
    let probes = &model.board.probes;
    let fitting = probes.iter().filter(|(id, state)| quiet::all_fit(matchers, &policy::labels(id, state)));
    let names: Vec<String> = fitting.map(|(id, _)| model.board.row_name(id.host(), id.name())).collect();
    if names.is_empty() {
        return "! fits no probe that is known now".into();
    }
    let more = if names.len() > NAMED_MAX { format!(" and {} more", names.len() - NAMED_MAX) } else { String::new() };
    let named = names[..names.len().min(NAMED_MAX)].join(", ");
    format!("fits {}: {named}{more}", format::plural(names.len() as u64, "probe"))
}

/// The end of something that begins at `from`: a length, or the time at which it ends.
fn end_of(model: &Model, from: Timestamp, text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("`{text}` is no length and no time, write `30m`, `2h` or `18:00`");
    let until = match format::parse_span(text) {
        Some(length) => from.checked_add(length).map_err(|_| wrong())?,
        None => ahead(model, text).map_err(|_| wrong())?,
    };
    if until <= from {
        return Err(format!("`{text}` would be over before it begins"));
    }
    if until.duration_since(from) > LONGEST {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(until)
}

/// A time as people type it, the next one rather than the last.
fn ahead(model: &Model, text: &str) -> Result<Timestamp, String> {
    let at = format::parse_when(text, model.now, &model.zone)?;
    let is_clock = text.contains(':') && !text.contains('-');
    if is_clock && at < model.now {
        let tomorrow = at.to_zoned(model.zone.clone()).tomorrow();
        return tomorrow.map(|it| it.timestamp()).map_err(|_| format!("`{text}` is too far away"));
    }
    Ok(at)
}

/// A short name that no other has: nobody makes two within one millisecond.
fn name_by_time(prefix: &str, now: Timestamp) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rest = now.as_millisecond().unsigned_abs();
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(char::from(DIGITS[(rest % 36) as usize]));
        rest /= 36;
    }
    format!("{prefix}-{}", digits.iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_told_apart_by_blanks_and_commas_outside_quotes() {
        let words = |text: &str| matchers(text).map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words("probe=api group=~edge|db"), Ok(vec!["probe=api".into(), "group=~edge|db".into()]));
        assert_eq!(words("probe=\"my api\", team!=core"), Ok(vec!["probe=my api".into(), "team!=core".into()]));
        assert_eq!(words("  "), Ok(Vec::new()));
        assert!(words("edge").is_err());
        for value in ["api", "my api", "a,b", ""] {
            assert_eq!(matchers(&matcher("probe", value)).expect(value)[0].value, value);
        }
    }

    #[test]
    fn names_by_time_differ_and_are_short() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
        assert_ne!(name_by_time("s", at(1_700_000_000_000)), name_by_time("s", at(1_700_000_000_001)));
        assert!(name_by_time("s", at(1_700_000_000_000)).len() <= 11);
    }
}
