//! The last row: what was just done, the keys of a begun chord, or the keys worth knowing here.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::app::command::{Command, GlobalCommand};
use crate::app::effect::NoticeSeverity;
use crate::app::model::Model;
use crate::app::ways;
use crate::domain::key::print_sequence;
use crate::domain::sanitise;
use crate::panes::incident::IncidentCommand;
use crate::panes::{PaneCommand, PaneId};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::hints;
use crate::widgets::wrap::cut;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    if !model.pending.is_empty() {
        let typed = print_sequence(&model.pending);
        let next = model.keymap.continuations(model.focus, &model.pending);
        let mut all = vec![(typed, "then".to_string())];
        all.extend(next.iter().map(|(key, doc)| (key.to_string(), doc.to_string())));
        hints::draw(theme, &all, Some(&("esc".to_string(), "back".to_string())), area, buf);
        return None;
    }
    if let Some(notice) = model.notices.shown() {
        let (role, mark) = match notice.severity {
            NoticeSeverity::Info => (Role::NoticeInfo, ""),
            NoticeSeverity::Warn => (Role::NoticeWarn, "! "),
            NoticeSeverity::Error => (Role::NoticeError, "x "),
        };
        let text = format!("{mark}{}", sanitise::text(&notice.text));
        let text = cut(&text, usize::from(area.width), theme.ascii);
        buf.set_style(area, theme.style(role));
        buf.set_string(area.x, area.y, text, theme.style(role));
        return None;
    }
    if model.past.is_reading(model.clock) {
        let text = cut("reading the past…", usize::from(area.width), theme.ascii);
        let text = if theme.ascii { text.replace('…', "~") } else { text };
        buf.set_string(area.x, area.y, text, theme.style(Role::NoticeInfo));
        return None;
    }
    if let Some(overlay) = model.overlays.last() {
        hints::draw(theme, &owned(overlay.hints()), None, area, buf);
        return None;
    }
    if model.panes.captures_keys(model.focus) {
        hints::draw(theme, &owned(model.panes.typing_hints(model.focus)), None, area, buf);
        return None;
    }
    let of_mode = model.panes.mode_hints(model.focus);
    if !of_mode.is_empty() {
        let labelled =
            |(command, label): &(_, &str)| Some((model.keymap.label(Command::Pane(*command))?, label.to_string()));
        let all: Vec<(String, String)> = of_mode.iter().filter_map(labelled).collect();
        let back = model.keymap.label(Command::Global(GlobalCommand::Back)).map(|it| (it, "back".to_string()));
        hints::draw(theme, &all, back.as_ref(), area, buf);
        return None;
    }
    let help = hint(model, Command::Global(GlobalCommand::Help));
    let of_pane = Command::all().into_iter().filter(|it| it.pane() == Some(model.focus));
    let global = Command::all().into_iter().filter(|it| it.pane().is_none());
    let take_over = Command::Global(GlobalCommand::TakeOver);
    let urgent = model.keymap.label(take_over).filter(|_| ways::can_take_over(model));
    let urgent = urgent.map(|it| (it, "take over".to_string()));
    let reattach = Command::Global(GlobalCommand::Reattach);
    let retry = model.keymap.label(reattach).filter(|_| ways::waits_for_a_person(model));
    let urgent = urgent.or_else(|| retry.map(|it| (it, "try again".to_string())));
    // In the past the header says how to step on.
    let is_shown = |it: &Command| match it {
        Command::Global(GlobalCommand::Help) => false,
        Command::Global(GlobalCommand::PastEarlier) => model.past.at().is_none(),
        _ => true,
    };
    let of_tables = of_pane.chain(global).filter(is_shown).filter_map(|it| hint(model, it));
    let of_filter = if model.focus == PaneId::Logs { model.panes.logs.filter_hints() } else { &[] };
    let of_filter = of_filter.iter().filter_map(|(command, label)| {
        let key = model.keymap.label(Command::Pane(PaneCommand::Logs(*command)))?;
        Some((key, label.to_string()))
    });
    let all: Vec<(String, String)> =
        urgent.into_iter().chain(unsaved(model)).chain(of_filter).chain(of_tables).collect();
    hints::draw(theme, &all, help.as_ref(), area, buf);
    None
}

/// The keys that send again what could not be saved, from the pane that has the keys now.
fn unsaved(model: &Model) -> Option<(String, String)> {
    let count = model.panes.incident.refused();
    if count == 0 {
        return None;
    }
    let retry = model.keymap.label(Command::Pane(PaneCommand::Incident(IncidentCommand::Retry)))?;
    let there = model.keymap.label(Command::Global(GlobalCommand::Pane4)).filter(|_| model.focus != PaneId::Incident);
    let keys = there.map_or_else(|| retry.clone(), |there| format!("{there} {retry}"));
    Some((keys, format!("send {count} again")))
}

/// The command's first key and its label, when it has both.
fn hint(model: &Model, command: Command) -> Option<(String, String)> {
    let label = command.spec().hint;
    let key = model.keymap.label(command)?;
    (!label.is_empty()).then(|| (key, label.to_string()))
}

fn owned(hints: &[(&str, &str)]) -> Vec<(String, String)> {
    hints.iter().map(|(key, label)| (key.to_string(), label.to_string())).collect()
}
