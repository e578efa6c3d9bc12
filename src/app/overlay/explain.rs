//! Why a probe was paged or not: the verdict, and below it everything that led to it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::app::effect::Effect;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::alert::explain::{ExplainRequest, Explanation, Fold};
use crate::domain::format;
use crate::domain::ids::ProbeId;
use crate::domain::key::{Key, KeyCode};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::input::{self, LineInput};
use crate::widgets::popup;
use crate::widgets::scroll::Scroll;
use crate::widgets::wrap::wrap;

/// Columns of the box.
const WIDTH: u16 = 110;
/// Cells of a step's time, with the blank behind it.
const TIME_CELLS: usize = 12;
/// Cells of a step's kind, with the blank behind it.
const KIND_CELLS: usize = 12;
/// A narrower box has the kind in front of the words.
const NARROW: u16 = 60;

/// Steps that say that somebody was told.
const TOLD: &[&str] = &["page", "delivery"];
/// Steps that say what was decided, by which it is understood that nobody was.
const DECIDED: &[&str] = &["alert", "after", "flapping", "cut off", "maintenance", "silence", "ack", "health"];

/// The time of now, and the zone in which times are written.
type Clock<'a> = (Timestamp, &'a TimeZone);

/// The state of the explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    probe: ProbeId,
    answer: Option<Box<Explanation>>,
    // Why there is none.
    refused: Option<String>,
    scroll: Scroll,
    // The time to explain instead, while it is typed.
    input: Option<LineInput>,
    // What is wrong with it.
    error: Option<String>,
}

impl Explain {
    /// Of a probe; the question goes out beside this.
    pub fn new(probe: ProbeId) -> Self {
        Self { probe, answer: None, refused: None, scroll: Scroll::default(), input: None, error: None }
    }

    /// Takes an answer, on a screen of this size, on which times are those of the zone.
    pub(crate) fn answered(&mut self, size: (u16, u16), clock: Clock<'_>, explanation: &Explanation) {
        if explanation.probe != self.probe {
            return;
        }
        self.answer = Some(Box::new(explanation.clone()));
        self.refused = None;
        let inner = inner_size(size);
        let (total, newest) = (self.steps(clock, None, inner.0).len(), self.newest(clock, inner.0));
        let room = self.room(clock, inner);
        self.scroll = Scroll::default();
        // What led to it stands above it.
        self.scroll.by(newest.map_or(0, |it| it.saturating_sub(room / 2)) as i64, total, room);
    }

    /// The row of the step that answers: the newest page or delivery, else the newest decision.
    fn newest(&self, clock: Clock<'_>, width: u16) -> Option<usize> {
        let folded = self.answer.as_ref()?.folded();
        let of = |kinds: &[&str]| {
            folded.iter().rposition(|it| it.step.at.is_some() && kinds.contains(&it.step.kind.as_str()))
        };
        let at = of(TOLD).or_else(|| of(DECIDED))?;
        Some(folded[..at].iter().map(|it| Self::rows(clock, None, it, width).len()).sum())
    }

    /// The question could not be answered.
    pub(crate) fn failed(&mut self, error: &str) {
        if self.answer.is_none() {
            self.refused = Some(error.to_string());
        }
    }

    pub(super) fn is_typing(&self) -> bool {
        self.input.is_some()
    }

    pub(super) fn paste(&mut self, text: &str) {
        if let Some(input) = &mut self.input {
            input.paste(text);
        }
    }

    pub(super) fn key(&mut self, model: &mut Model, key: &Key) -> Answer {
        if let Some(input) = &mut self.input {
            match key.code {
                KeyCode::Esc => self.input = None,
                KeyCode::Enter => match format::parse_when(input.text(), model.now, &model.zone) {
                    Ok(at) => return self.ask(Some(at)),
                    Err(error) => self.error = Some(error),
                },
                _ => {
                    input.key(key);
                    self.error = None;
                }
            }
            return Answer::Stay;
        }
        let inner = inner_size(model.size());
        let clock = (model.now, &model.zone);
        let total = self.steps(clock, None, inner.0).len();
        let height = self.room(clock, inner);
        if let Some(step) = Scroll::step(key, height) {
            self.scroll.by(step, total, height);
            return Answer::Stay;
        }
        match (key.code, key.ctrl) {
            (KeyCode::Char('t'), false) => {
                self.input = Some(LineInput::default());
                Answer::Stay
            }
            (KeyCode::Char('n'), false) => self.ask(None),
            (KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'x'), _) => Answer::Close,
            _ => Answer::Stay,
        }
    }

    /// Asks about another time; the overlay opens again with the question.
    fn ask(&mut self, at: Option<Timestamp>) -> Answer {
        let request = ExplainRequest { probe: self.probe.clone(), at };
        let show = Effect::Show(crate::app::effect::Sheet::Explain(self.probe.clone()));
        Answer::Effects(vec![show, Effect::Request(Request::Explain(request))])
    }

    /// Rows for the steps, below the verdict and above the input.
    fn room(&self, clock: Clock<'_>, (width, height): (u16, u16)) -> usize {
        let verdict = self.verdict(clock, width).len() + 1;
        usize::from(height).saturating_sub(verdict + 2 * usize::from(self.input.is_some()))
    }

    fn verdict(&self, (now, zone): Clock<'_>, width: u16) -> Vec<String> {
        let text = match (&self.answer, &self.refused) {
            (Some(it), _) => it.verdict.clone(),
            (None, Some(error)) => format!("! {error}"),
            (None, None) => "asking…".to_string(),
        };
        wrap(&format::local_times(&sanitise::text(&text), now, zone), usize::from(width))
    }

    fn steps(&self, clock: Clock<'_>, theme: Option<&Theme>, width: u16) -> Vec<Line<'static>> {
        let folded = self.answer.as_ref().map(|it| it.folded()).unwrap_or_default();
        folded.iter().flat_map(|it| Self::rows(clock, theme, it, width)).collect()
    }

    /// The rows of a step. Without a theme they are empty: only their number is asked for.
    fn rows(clock: Clock<'_>, theme: Option<&Theme>, fold: &Fold<'_>, width: u16) -> Vec<Line<'static>> {
        let (now, zone) = clock;
        let narrow = width < NARROW;
        let before = if narrow { TIME_CELLS } else { TIME_CELLS + KIND_CELLS };
        let kind = sanitise::text(&fold.step.kind);
        let text = fold.text(now, zone);
        let text = if narrow { format!("{kind}: {text}") } else { text };
        let row = |(at, part): (usize, String)| {
            let Some(theme) = theme else { return Line::default() };
            let is_first = at == 0;
            let time = fold.step.at.filter(|_| is_first);
            let time = time.map_or_else(String::new, |it| format::moment(now, it, zone));
            let mut spans = vec![Span::styled(format!("{time:<TIME_CELLS$}"), theme.style(Role::TextDim))];
            if !narrow {
                let kind = if is_first { kind.as_str() } else { "" };
                spans.push(Span::styled(format!("{kind:<KIND_CELLS$}"), theme.style(kind_role(&fold.step.kind))));
            }
            spans.push(Span::styled(part, theme.style(Role::Text)));
            Line::from(spans)
        };
        let parts = wrap(&text, usize::from(width).saturating_sub(before).max(10));
        parts.into_iter().enumerate().map(row).collect()
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let at = self.answer.as_ref().map(|it| format!(" at {}", format::moment(model.now, it.at, &model.zone)));
        let name = model.board.row_name(self.probe.host(), self.probe.name());
        let title = format!("why {}{}", sanitise::text(&name), at.unwrap_or_default());
        let inner = popup::frame(theme, &title, outer(screen), buf);
        let clock = (model.now, &model.zone);
        let mut rows = inner.rows();
        for (text, row) in self.verdict(clock, inner.width).iter().zip(rows.by_ref()) {
            buf.set_stringn(row.x, row.y, text, row.width as usize, theme.style(Role::TextStrong));
        }
        rows.next();
        let steps = self.steps(clock, Some(theme), inner.width);
        let room = self.room(clock, (inner.width, inner.height));
        let shown = self.scroll.window(steps.len(), room);
        for (line, row) in steps[shown.clone()].iter().zip(rows) {
            buf.set_line(row.x, row.y, line, row.width);
        }
        if steps.len() > shown.len() {
            let outer = outer(screen);
            let place = format!(" {}-{} of {} ", shown.start + 1, shown.end, steps.len());
            let x = outer.right().saturating_sub(place.len() as u16 + 2).max(outer.x);
            buf.set_stringn(x, outer.bottom() - 1, place, outer.width as usize, theme.style(Role::TextDim));
        }
        let input = self.input.as_ref().filter(|_| inner.height > 2)?;
        let row = Rect { y: inner.bottom() - 1, height: 1, ..inner };
        if let Some(error) = &self.error {
            let above = Rect { y: row.y - 1, ..row };
            buf.set_stringn(above.x, above.y, error, above.width as usize, theme.style(Role::NoticeError));
        }
        Some(input::draw(theme, "at (-12m, 14:05): ", input, row, buf))
    }
}

fn outer(screen: Rect) -> Rect {
    popup::centred(screen, WIDTH, screen.height.saturating_sub(2).max(screen.height.min(6)))
}

/// Cells inside the box, on a screen of this size.
fn inner_size((width, height): (u16, u16)) -> (u16, u16) {
    let outer = outer(Rect::new(0, 0, width, height));
    (outer.width.saturating_sub(4), outer.height.saturating_sub(2))
}

fn kind_role(kind: &str) -> Role {
    match kind {
        "page" | "delivery" => Role::NoticeWarn,
        "silence" | "maintenance" | "after" | "ack" | "flapping" | "cut off" => Role::NoticeInfo,
        "health" => Role::TextStrong,
        _ => Role::TextDim,
    }
}
