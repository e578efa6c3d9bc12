//! How the notifiers are doing, what waits for them, and the way to test one.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::app::effect::Effect;
use crate::app::model::Model;
use crate::app::overlay::Answer;
use crate::domain::alert::policy::Out;
use crate::domain::alert::rules::NotifierRule;
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
/// Lines about refused messages; what finds no room is counted, `hotseat alerts` has them all.
const REFUSED_MAX: usize = 7;

/// The state of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notifiers {
    selected: usize,
}

impl Notifiers {
    pub(super) fn key(&mut self, model: &Model, key: &Key) -> Answer {
        let notifiers = &model.board.alerts.rules().notifiers;
        let last = notifiers.len().saturating_sub(1);
        self.selected = self.selected.min(last);
        match key.code {
            KeyCode::Char('j') | KeyCode::Down => self.selected = (self.selected + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up => self.selected = self.selected.saturating_sub(1),
            KeyCode::Char('g') | KeyCode::Home => self.selected = 0,
            KeyCode::Char('G') | KeyCode::End => self.selected = last,
            KeyCode::Enter | KeyCode::Char('t') => {
                if let Some(it) = notifiers.get(self.selected) {
                    let request = Request::TestNotifier(it.name.clone());
                    return Answer::Effects(vec![Effect::Request(request)]);
                }
            }
            KeyCode::Esc | KeyCode::Char('q') => return Answer::Close,
            _ => {}
        }
        Answer::Stay
    }

    pub(super) fn view(&self, model: &Model, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Position> {
        let notifiers = &model.board.alerts.rules().notifiers;
        let lost = refused(model, REFUSED_MAX);
        let height = u16::try_from(notifiers.len().max(1) + lost.len()).unwrap_or(u16::MAX).saturating_add(2);
        let height = height.clamp(3, screen.height.saturating_sub(2).max(3));
        let inner = popup::frame(theme, "notifiers", popup::centred(screen, WIDTH, height), buf);
        if notifiers.is_empty() {
            let text = "nobody is told: the config has no `[[notifier]]`";
            buf.set_stringn(inner.x, inner.y, text, inner.width as usize, theme.style(Role::TextDim));
            return None;
        }
        let selected = self.selected.min(notifiers.len() - 1);
        let name = notifiers.iter().map(|it| it.name.width()).max().unwrap_or_default().min(20);
        let kind = notifiers.iter().map(|it| it.kind.width()).max().unwrap_or_default();
        // The notifiers keep at least half: they are what is chosen from.
        let above = u16::try_from(notifiers.len()).unwrap_or(u16::MAX).min(inner.height.div_ceil(2));
        let lost = refused(model, lost.len().min(usize::from(inner.height - above)));
        let below = u16::try_from(lost.len()).unwrap_or(u16::MAX);
        let [inner, foot] = Layout::vertical([Constraint::Fill(1), Constraint::Length(below)]).areas(inner);
        for (text, row) in lost.iter().zip(foot.rows()) {
            let text = cut(text, usize::from(row.width), theme.ascii);
            buf.set_stringn(row.x, row.y, text, row.width as usize, theme.style(Role::NoticeError));
        }
        let top = keep_visible(0, selected, notifiers.len(), usize::from(inner.height));
        for ((at, it), row) in notifiers.iter().enumerate().skip(top).zip(inner.rows()) {
            let (mark, role, words) = health(model, it);
            let label = cut(&sanitise::text(&it.name), name, theme.ascii);
            let line = Line::from(vec![
                Span::styled(format!("{mark} "), theme.style(role)),
                Span::styled(format!("{label}{}  ", " ".repeat(name - label.width())), theme.style(Role::TextStrong)),
                Span::styled(format!("{:<kind$}  ", it.kind), theme.style(Role::TextDim)),
                Span::styled(words, theme.style(role)),
            ]);
            list::row(theme, &line, Mark::of(at == selected, true), row, buf);
        }
        None
    }
}

/// Which messages are refused, by whom, and when each is tried again, in at most `lines_max` lines.
fn refused(model: &Model, lines_max: usize) -> Vec<String> {
    let refused = model.board.alerts.refused();
    let line = |it: &&Out| {
        let (name, title) = (sanitise::text(&it.notifier), sanitise::text(&it.title));
        let next = it.next.filter(|it| *it > model.now);
        let next =
            next.map_or_else(String::new, |it| format!(", next try {}", format::moment(model.now, it, &model.zone)));
        let what = if title.is_empty() { it.action.word().to_string() } else { title };
        format!("! refused by {name}{next}: {what}")
    };
    let shown = if refused.len() > lines_max { lines_max.saturating_sub(1) } else { refused.len() };
    let mut lines: Vec<String> = refused.iter().take(shown).map(line).collect();
    if let (count @ 1.., true) = (refused.len() - shown, lines_max > 0) {
        lines.push(format!("! and {count} more refused: hotseat alerts"));
    }
    lines
}

fn health(model: &Model, rule: &NotifierRule) -> (char, Role, String) {
    let alerts = &model.board.alerts;
    let waiting = alerts.backlog().get(rule.name.as_str()).copied().unwrap_or_default() as u64;
    let waiting = if waiting == 0 { String::new() } else { format!(", {waiting} waiting") };
    let moment = |it| format::moment(model.now, it, &model.zone);
    let Some(state) = alerts.notifiers().get(&rule.name) else {
        return ('-', Role::TextDim, format!("was never used{waiting}"));
    };
    if state.is_well() {
        let last = state.sent_at.map_or_else(|| "took none yet".to_string(), |it| format!("took one {}", moment(it)));
        return ('o', Role::Text, format!("{last}{waiting}"));
    }
    let error = sanitise::text(state.error.as_deref().unwrap_or("it did not take what it was given"));
    let next = state.next.map_or_else(String::new, |it| format!(", next try {}", moment(it)));
    let failed = format::plural(u64::from(state.failures), "failure");
    ('x', Role::NoticeError, format!("{failed}{waiting}{next}: {error}"))
}
