//! A run of a probe in this process beside that of the agent: is it down, or is it the agent's own view.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthStr;

use crate::app::effect::{Effect, Sheet};
use crate::app::event::RanHere;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::board::Board;
use crate::domain::format;
use crate::domain::host::Way;
use crate::domain::ids::ProbeId;
use crate::domain::key::{Key, KeyCode};
use crate::domain::probe::beside::verdict;
use crate::domain::probe::outcome::Outcome;
use crate::domain::probe::waterfall;
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::popup;
use crate::widgets::scroll::Scroll;
use crate::widgets::wrap::{cut, wrap, wrap_at_blanks};

/// Columns of the box.
const WIDTH: u16 = 110;
/// Columns of the frame and of the blanks inside of it.
const FRAME_CELLS: u16 = 4;
/// Blank cells between the two runs.
const BETWEEN: usize = 2;

/// Both runs of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    probe: ProbeId,
    // When the agent had run it last before it was asked.
    before: Option<Timestamp>,
    here: Option<Result<Box<RanHere>, String>>,
    scroll: Scroll,
}

/// Has a probe run in both places and shows what comes of it.
pub fn ask(probe: ProbeId, board: &Board) -> Vec<Effect> {
    let state = board.probes.get(&probe);
    let before = state.and_then(|it| it.last()).map(|it| it.at);
    let shown = state.map(|it| Box::new(it.setup.clone()));
    vec![
        Effect::Show(Sheet::Beside { probe: probe.clone(), before }),
        Effect::RunHere(probe.clone(), shown),
        Effect::Request(Request::RunProbe(probe)),
    ]
}

impl Beside {
    /// Nothing has run so far; both are asked beside this.
    pub fn new(probe: ProbeId, before: Option<Timestamp>) -> Self {
        Self { probe, before, here: None, scroll: Scroll::default() }
    }

    /// Takes what ran here.
    pub(crate) fn ran_here(&mut self, probe: &ProbeId, ran: &Result<Box<RanHere>, String>) {
        if *probe == self.probe {
            self.here = Some(ran.clone());
        }
    }

    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let (columns, rows) = model.size();
        let (total, outer) = self.fitted(model, Rect::new(0, 0, columns, rows));
        let height = usize::from(outer.height.saturating_sub(2));
        if let Some(step) = Scroll::step(key, height) {
            self.scroll.by(step, total, height);
            return Answer::Stay;
        }
        match (key.code, key.ctrl) {
            // Answers of the last time must have come, so that one is not taken for the next.
            (KeyCode::Char('r'), false) if self.here.is_some() => {
                Answer::Effects(ask(self.probe.clone(), &model.board))
            }
            (KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'h'), _) => Answer::Close,
            _ => Answer::Stay,
        }
    }

    /// How many lines there are, and a box on this screen that holds as many of them as there is room for.
    fn fitted(&self, model: &Model, screen: Rect) -> (usize, Rect) {
        let inside = WIDTH.min(screen.width).saturating_sub(FRAME_CELLS);
        let total = self.lines(model, inside, false).len();
        let height = u16::try_from(total).unwrap_or(u16::MAX).saturating_add(2);
        (total, popup::centred(screen, WIDTH, height.min(screen.height.saturating_sub(2)).max(3)))
    }

    fn theirs<'a>(&self, model: &'a Model) -> Option<&'a Outcome> {
        model.board.probes.get(&self.probe)?.last()
    }

    /// What is shown, and which of it stands out.
    fn lines(&self, model: &Model, width: u16, ascii: bool) -> Vec<(String, Role)> {
        let width = usize::from(width);
        let theirs = self.theirs(model);
        let is_answer = theirs.is_some_and(|it| Some(it.at) != self.before);
        let ours = match &self.here {
            Some(Ok(ran)) => Some(&ran.outcome),
            _ => None,
        };
        let mut lines = Vec::new();
        let mut say = |text: &str, role| {
            lines.extend(wrap(&sanitise::multiline(text), width).into_iter().map(|it| (it, role)));
        };
        match (&self.here, theirs, ours) {
            (Some(Err(why)), ..) => say(&format!("not run here: {why}"), Role::NoticeWarn),
            (_, Some(theirs), Some(ours)) => say(&verdict(theirs, ours), Role::TextStrong),
            _ => say("running…", Role::TextDim),
        }
        if let (Some(Ok(ran)), Some(state)) = (&self.here, model.board.probes.get(&self.probe))
            && (&ran.kind, &ran.target) != (&state.setup.kind, &state.setup.target)
        {
            let text = format!(
                "not the same: the agent looks at {} {}, here it is {} {}",
                state.setup.kind, state.setup.target, ran.kind, ran.target
            );
            say(&text, Role::NoticeWarn);
        }
        if let Some(Ok(ran)) = &self.here
            && ran.as_shown
        {
            let text = format!(
                "no entry of `{}` is read here: it was run as the agent shows it, without headers, credentials and \
                 other settings that stay there",
                self.probe.name()
            );
            say(&text, Role::NoticeInfo);
        }
        say("", Role::Text);
        let column = width.saturating_sub(BETWEEN) / 2;
        let is_inside = model.ways.get(&crate::domain::ids::HostId::new(self.probe.host())) == Some(&Way::Inside);
        let agent = if is_inside { "the watch of this screen" } else { "agent" };
        let head = match theirs {
            Some(it) if is_answer => format!("{agent}, {}", format::ago(model.now, it.at)),
            Some(it) => format!("{agent}, {}; asked again…", format::ago(model.now, it.at)),
            None => format!("{agent}: no run yet"),
        };
        let here = match &self.here {
            None => "here: running…",
            Some(Ok(_)) => "here",
            Some(Err(_)) => "here: not run",
        };
        let pad = |it: &str| {
            let it = cut(&sanitise::text(it), column, ascii);
            let blanks = " ".repeat(column.saturating_sub(it.width()) + BETWEEN);
            it + &blanks
        };
        lines.push((pad(&head) + &cut(here, column, ascii), Role::TextDim));
        let of = |it: Option<&Outcome>| it.map(|it| column_of(it, column, ascii)).unwrap_or_default();
        let (left, right) = (of(theirs), of(ours));
        for row in 0..left.len().max(right.len()) {
            let cell = |of: &[String]| of.get(row).cloned().unwrap_or_default();
            lines.push((pad(&cell(&left)) + &cut(&sanitise::text(&cell(&right)), column, ascii), Role::Text));
        }
        if is_inside {
            lines.push((String::new(), Role::Text));
            let text = "this screen keeps watch itself: both ran in this process";
            lines.extend(wrap(text, width).into_iter().map(|it| (it, Role::TextDim)));
        }
        lines
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let name = model.board.row_name(self.probe.host(), self.probe.name());
        let title = format!("{} from the agent and from here", sanitise::text(&name));
        let (_, outer) = self.fitted(model, screen);
        let inner = popup::frame(theme, &title, outer, buf);
        let lines = self.lines(model, inner.width, theme.ascii);
        let shown = self.scroll.window(lines.len(), usize::from(inner.height));
        for ((text, role), row) in lines[shown].iter().zip(inner.rows()) {
            buf.set_stringn(row.x, row.y, text, usize::from(row.width), theme.style(*role));
        }
        None
    }
}

/// A run as a column of text: where its time went, what came of it, whom it spoke to.
fn column_of(outcome: &Outcome, width: usize, ascii: bool) -> Vec<String> {
    let mut lines = waterfall::lines(outcome, width, ascii);
    let why = outcome.trouble.as_ref().map_or_else(|| outcome.result.word().to_string(), |it| it.text.clone());
    lines.extend(outcome.evidence.address.iter().map(|it| format!("address  {it}")));
    lines.extend(outcome.evidence.status.map(|it| format!("status   {it}")));
    lines.extend(wrap_at_blanks(&sanitise::text(&why), width));
    lines
}
