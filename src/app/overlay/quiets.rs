//! Silences and maintenances: what is not told now or later, by whom, until when; and the way to end one.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::app::effect::Effect;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::alert::quiet::{Maintenance, Silence};
use crate::domain::format;
use crate::domain::key::{Key, KeyCode};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::list::{self, Mark};
use crate::widgets::popup;
use crate::widgets::scroll::keep_visible;
use crate::widgets::wrap::cut;

/// Columns of the box.
const WIDTH: u16 = 100;

/// The state of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quiets {
    selected: usize,
}

/// One row.
struct Quiet {
    // It holds now.
    holds: bool,
    title: String,
    about: String,
    // What ends it; `None` for those of the config.
    end: Option<(String, Request)>,
}

impl Quiets {
    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let quiets = quiets(model);
        let last = quiets.len().saturating_sub(1);
        self.selected = self.selected.min(last);
        match key.code {
            KeyCode::Char('j') | KeyCode::Down => self.selected = (self.selected + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up => self.selected = self.selected.saturating_sub(1),
            KeyCode::Char('g') | KeyCode::Home => self.selected = 0,
            KeyCode::Char('G') | KeyCode::End => self.selected = last,
            KeyCode::Char('d') | KeyCode::Delete | KeyCode::Enter => {
                if let Some((question, request)) = quiets.into_iter().nth(self.selected).and_then(|it| it.end) {
                    return Answer::Effects(vec![Effect::Confirm { question, then: vec![Effect::Request(request)] }]);
                }
            }
            KeyCode::Esc | KeyCode::Char('q' | 'Q') => return Answer::Close,
            _ => {}
        }
        Answer::Stay
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let quiets = quiets(model);
        let height = (quiets.len() as u16 * 2).saturating_add(2).clamp(4, screen.height.saturating_sub(2).max(4));
        let inner =
            popup::frame(theme, "silences and maintenances (d ends one)", popup::centred(screen, WIDTH, height), buf);
        if quiets.is_empty() {
            let text = "nothing is silenced, no maintenance is planned";
            buf.set_stringn(inner.x, inner.y, text, inner.width as usize, theme.style(Role::TextDim));
            return None;
        }
        let selected = self.selected.min(quiets.len() - 1);
        // Two rows each: who and until when, and what it is about.
        let room = usize::from(inner.height / 2).max(1);
        let top = keep_visible(0, selected, quiets.len(), room);
        let mut rows = inner.rows();
        for (at, it) in quiets.iter().enumerate().skip(top).take(room) {
            let (Some(first), Some(second)) = (rows.next(), rows.next()) else { break };
            let width = first.width as usize;
            let role = if it.holds { Role::NoticeInfo } else { Role::TextDim };
            let title = Line::from(Span::styled(cut(&it.title, width, theme.ascii), theme.style(role)));
            list::row(theme, &title, Mark::of(at == selected, true), first, buf);
            let about = cut(&format!("  {}", it.about), width, theme.ascii);
            buf.set_stringn(second.x, second.y, about, width, theme.style(Role::Text));
        }
        None
    }
}

/// What holds now comes first.
fn quiets(model: &Model) -> Vec<Quiet> {
    let alerts = &model.board.alerts;
    let silences = alerts.silences().filter(|it| model.now < it.until);
    let maintenances = alerts.maintenances().filter(|it| !it.is_past(model.now));
    let mut quiets: Vec<Quiet> = silences.map(|it| of_silence(model, it)).collect();
    quiets.extend(maintenances.map(|it| of_maintenance(model, it)));
    quiets.sort_by_key(|it| !it.holds);
    quiets
}

fn of_silence(model: &Model, it: &Silence) -> Quiet {
    let holds = it.holds(model.now);
    let when = if holds { format!("until {}", moment(model, it.until)) } else { span(model, it.from, it.until) };
    let in_config = model.board.alerts.rules().silences.iter().any(|of_config| of_config.id == it.id);
    let what = sanitise::text(&it.what());
    let comment = if it.comment.is_empty() { String::new() } else { format!("  {}", sanitise::text(&it.comment)) };
    Quiet {
        holds,
        title: format!("{} silence {when}, {}", mark(holds), by(&it.by, in_config)),
        about: format!("{what}{comment}"),
        end: (!in_config).then(|| (format!("end the silence of {what}?"), Request::Unsilence(it.id.clone()))),
    }
}

fn of_maintenance(model: &Model, it: &Maintenance) -> Quiet {
    let open = it.open_window(model.now);
    let when = match (open, it.next_window(model.now)) {
        (Some((_, until)), _) => format!("until {}", moment(model, until)),
        (None, Some((from, until))) => span(model, from, until),
        (None, None) => "never again".to_string(),
    };
    let in_config = model.board.alerts.rules().maintenances.iter().any(|of_config| of_config.name == it.name);
    let name = sanitise::text(&it.name);
    let end = || (format!("end maintenance `{name}`?"), Request::EndMaintenance(it.name.clone()));
    Quiet {
        holds: open.is_some(),
        title: format!("{} maintenance `{name}` {when}, {}", mark(open.is_some()), by(&it.by, in_config)),
        about: sanitise::text(&it.what()),
        end: (!in_config).then(end),
    }
}

fn mark(holds: bool) -> &'static str {
    if holds { "on " } else { "off" }
}

fn by(name: &str, in_config: bool) -> String {
    if in_config { "from the config".to_string() } else { format!("by {}", sanitise::text(name)) }
}

fn moment(model: &Model, at: Timestamp) -> String {
    format::moment(model.now, at, &model.zone)
}

fn span(model: &Model, from: Timestamp, until: Timestamp) -> String {
    format!("from {} until {}", moment(model, from), moment(model, until))
}
