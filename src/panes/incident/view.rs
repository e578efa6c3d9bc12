//! Draws the incident pane: timeline, detail, prompts, editor.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;
use uuid::Uuid;

use crate::domain::format;
use crate::domain::ids::IncidentId;
use crate::domain::incident::entry::EntryBody;
use crate::domain::incident::fold::{Incident, TimelineRow};
use crate::domain::incident::{Severity, name};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::incident::declare::DeclareForm;
use crate::panes::incident::editing::text_height;
use crate::panes::incident::{IncidentPane, Mode, SAVED_COUNTS};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::list::{self, Mark};
use crate::widgets::wrap::{cut, wrap};
use crate::widgets::{editor, input};

/// Columns of the writer's name.
const WHO_COLUMNS: usize = 8;

pub(super) fn title(pane: &IncidentPane, cx: &Context<'_>, theme: &Theme) -> Line<'static> {
    let mut line = Line::default();
    let dim = theme.style(Role::TextDim);
    let mut part = |text: String, style| {
        if !line.spans.is_empty() {
            line.push_span(Span::styled(" · ", dim));
        }
        line.push_span(Span::styled(text, style));
    };
    if cx.height == 0 && pane.is_idle(cx) {
        part("none open: `D` declares, `i` writes a note".to_string(), dim);
    }
    if let Some(it) = pane.incident(cx) {
        let name = sanitise::text(&called(cx, &it.id));
        if it.log_book {
            part(name, theme.style(Role::TextStrong));
        } else {
            let name = format!("{} {name}", it.severity);
            part(name, theme.style(severity_role(it.severity)));
            part(it.status.to_string(), dim);
        }
        let (others, place) = cx.board.open_beside(&it.id);
        if others > 0 {
            part(format!("{others} more open{} (o)", sanitise::text(&place)), theme.style(Role::NoticeWarn));
        }
        part(format::plural(it.entries.len() as u64, "event"), dim);
        if it.damaged_lines > 0 {
            part(
                format!("{} skipped", format::plural(u64::from(it.damaged_lines), "damaged line")),
                theme.style(Role::NoticeWarn),
            );
        }
        if it.broken_links > 0 {
            part(format!("chain broken {}×", it.broken_links), theme.style(Role::NoticeWarn));
        }
    }
    if !pane.unsent.is_empty() {
        part(format!("{} NOT SAVED (R retries)", pane.unsent.len()), theme.style(Role::NoticeError));
    } else if cx.board.incidents.trouble.is_some() {
        part("DISK TROUBLE".into(), theme.style(Role::NoticeError));
    } else if pane.note.is_waiting() {
        part("saving".into(), theme.style(Role::TextStrong));
    } else if let Some(at) = cx.board.incidents.saved_at {
        let age = cx.now.duration_since(at);
        let words = if age < SAVED_COUNTS {
            format!("saved {}", format::ago(cx.now, at))
        } else {
            format!("saved {}", format::clock_short(at, cx.zone))
        };
        part(words, dim);
    }
    line
}

pub(super) fn draw(
    pane: &IncidentPane,
    cx: &Context<'_>,
    theme: &Theme,
    area: Rect,
    buf: &mut Buffer,
) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    match &pane.mode {
        Mode::Editor => return draw_editor(pane, cx, theme, area, buf),
        Mode::Reading if pane.detail.is_some() => {
            draw_detail(pane, cx, theme, area, buf);
            return None;
        }
        _ => {}
    }
    let below = match &pane.mode {
        Mode::Declare(_) => 2,
        Mode::Note | Mode::Status | Mode::Severity => 1,
        Mode::Reading => u16::from(cx.board.incidents.trouble.is_some()),
        Mode::Editor => 0,
    }
    .min(area.height);
    let rows = Rect { height: area.height - below, ..area };
    let bottom = Rect { y: rows.bottom(), height: below, ..area };
    draw_timeline(pane, cx, theme, rows, buf);
    match &pane.mode {
        Mode::Note => {
            let target = pane.target(cx);
            // Without an incident it goes where a declaration would: to the host that was named first.
            let first = cx.reach.fleet.and_then(|it| it.first()).map(|it| it.as_str());
            let book = match first.filter(|_| cx.board.is_of_several()) {
                Some(host) => format!("log-book of {host}"),
                None => "log-book".to_string(),
            };
            let name = target.as_ref().map_or(book, |it| called(cx, it));
            let host = target.as_ref().map(|it| it.host()).or(first).filter(|_| cx.board.is_of_several());
            let prefix = match host {
                _ if area.width >= 50 => format!("{} > ", sanitise::text(&name)),
                Some(host) => format!("{} > ", sanitise::text(host)),
                None => "> ".to_string(),
            };
            Some(input::draw(theme, &prefix, &pane.note.input, bottom, buf))
        }
        Mode::Declare(form) => draw_form(form, cx, theme, bottom, buf),
        Mode::Status => {
            menu(
                theme,
                "status:",
                &[("i", "investigating"), ("d", "identified"), ("m", "mitigated"), ("r", "resolved")],
                bottom,
                buf,
            );
            None
        }
        Mode::Severity => {
            menu(
                theme,
                "severity:",
                &[("1", "all down"), ("2", "critical"), ("3", "partly"), ("4", "minor")],
                bottom,
                buf,
            );
            None
        }
        Mode::Reading => {
            if let Some(trouble) = &cx.board.incidents.trouble {
                let text = cut(&format!("! {}", sanitise::text(trouble)), area.width as usize, theme.ascii);
                buf.set_stringn(bottom.x, bottom.y, text, area.width as usize, theme.style(Role::NoticeError));
            }
            None
        }
        Mode::Editor => None,
    }
}

/// How an incident is called: with its host in front where several are shown.
pub(super) fn called(cx: &Context<'_>, incident: &IncidentId) -> String {
    cx.board.row_name(incident.host(), &name::short(incident.name()))
}

/// An entry as text for the clipboard.
pub(super) fn plain(cx: &Context<'_>, row: &TimelineRow<'_>) -> String {
    format!("{} {} {}", format::full(row.at, cx.zone), row.entry.by, row.words_in(cx.now, cx.zone))
}

/// The rows of an entry shown in full.
pub(super) fn detail_rows(cx: &Context<'_>, incident: &Incident, selected: Option<Uuid>) -> Vec<(Role, String)> {
    let timeline = incident.timeline();
    let Some(row) = timeline.iter().find(|it| Some(it.entry.id) == selected) else {
        return vec![(Role::TextDim, "this entry is gone".into())];
    };
    let width = cx.width.max(1) as usize;
    let mut rows = Vec::new();
    let mut add = |role, text: &str| {
        rows.extend(wrap(&sanitise::multiline(text), width).into_iter().map(|it| (role, it)));
    };
    let entry = row.entry;
    add(Role::TextStrong, &format!("{} by {} · {}", format::full(row.at, cx.zone), entry.by, entry.body.kind()));
    if entry.rec != row.at {
        add(Role::TextDim, &format!("recorded {}", format::full(entry.rec, cx.zone)));
    }
    if row.corrected {
        add(Role::TextDim, &format!("corrected; first written as: {}", entry.body.words()));
    }
    add(Role::Text, "");
    match &entry.body {
        EntryBody::Pin(pin) => {
            if !pin.comment.is_empty() {
                add(Role::Text, &pin.comment);
            }
            add(
                Role::TextDim,
                &format!(
                    "{} of {} · {} · sha256 {}",
                    format::plural(u64::from(pin.lines), "line"),
                    pin.source,
                    pin.file,
                    pin.sha256
                ),
            );
            add(Role::Text, "");
            add(Role::NotePin, pin.text.trim_end_matches('\n'));
            if pin.cut_bytes > 0 {
                add(Role::LogGap, &format!("~ {} more in {} ~", format::bytes(pin.cut_bytes), pin.file));
            }
        }
        EntryBody::Unknown { body, .. } => add(Role::Text, &format!("{}\n{body:#}", row.words())),
        _ => add(Role::Text, &row.words_in(cx.now, cx.zone)),
    }
    rows
}

fn draw_detail(pane: &IncidentPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let Some(incident) = pane.incident(cx) else { return };
    let rows = detail_rows(cx, incident, pane.selected);
    let window = pane.detail.unwrap_or_default().window(rows.len(), area.height as usize);
    for (y, (role, text)) in (area.y..).zip(&rows[window]) {
        buf.set_stringn(area.x, y, text, area.width as usize, theme.style(*role));
    }
}

fn draw_timeline(pane: &IncidentPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let Some(incident) = pane.incident(cx) else {
        if cx.draw_absent(theme, area, buf) {
            return;
        }
        for (row, text) in area.rows().zip(idle(area.width)) {
            buf.set_stringn(row.x, row.y, &text, row.width as usize, theme.style(Role::TextDim));
        }
        return;
    };
    let timeline = incident.timeline();
    let height = area.height as usize;
    let at = pane.selected.and_then(|id| timeline.iter().position(|it| it.entry.id == id));
    let lowest = timeline.len().saturating_sub(height);
    // Following shows the end; a selected row stays in the middle, so that what came before and after is seen.
    let top = at.map_or(lowest, |at| at.saturating_sub(height / 2).min(lowest));
    for (row, (index, it)) in area.rows().zip(timeline.iter().enumerate().skip(top)) {
        let mark = Mark::of(at == Some(index), cx.focused);
        list::row(theme, &timeline_line(cx, theme, it, area.width as usize), mark, row, buf);
    }
}

/// Said while no incident is open.
const IDLE: [&str; 2] =
    ["no incident is open", "`i` writes a note into the log-book of the day, `D` declares an incident"];

fn idle(width: u16) -> Vec<String> {
    IDLE.iter().flat_map(|it| wrap(it, usize::from(width))).collect()
}

/// Rows of what is said while no incident is open; the prompts stand in their place.
pub(super) fn idle_rows(width: u16) -> u16 {
    if width == 0 { IDLE.len() as u16 } else { idle(width).len() as u16 }
}

fn timeline_line(cx: &Context<'_>, theme: &Theme, row: &TimelineRow<'_>, width: usize) -> Line<'static> {
    let entry = row.entry;
    let role = match &entry.body {
        EntryBody::Pin(_) => Role::NotePin,
        EntryBody::Probe { .. } | EntryBody::Backup { .. } | EntryBody::Alert { .. } | EntryBody::Unknown { .. } => {
            Role::NoteMachine
        }
        EntryBody::Severity { severity } => severity_role(*severity),
        _ => Role::NotePerson,
    };
    let time = format::moment(cx.now, row.at, cx.zone);
    let who = cut(&sanitise::text(&entry.by), WHO_COLUMNS, theme.ascii);
    let pad = " ".repeat(WHO_COLUMNS.saturating_sub(who.width()));
    let words = row.words_in(cx.now, cx.zone);
    let mut lines = words.lines();
    let mut text = sanitise::text(lines.next().unwrap_or_default());
    let more = lines.count();
    if more > 0 {
        text.push_str(&format!(" (+{})", format::plural(more as u64, "line")));
    }
    if row.corrected {
        text.push_str(" (corrected)");
    }
    let room = width.saturating_sub(time.width() + WHO_COLUMNS + 2);
    Line::from(vec![
        Span::styled(format!("{time} "), theme.style(Role::TextDim)),
        Span::styled(format!("{who}{pad} "), theme.style(Role::TextDim)),
        Span::styled(cut(&text, room, theme.ascii), theme.style(role)),
    ])
}

fn draw_form(form: &DeclareForm, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let mut rows = area.rows();
    let first = rows.next()?;
    let cursor = input::draw(theme, "declare > ", &form.title, first, buf);
    let Some(second) = rows.next() else { return Some(cursor) };
    let mut line = Line::from(Span::styled("severity ", theme.style(Role::Key)));
    for severity in Severity::ALL {
        let chosen = severity == form.severity;
        let text = if chosen { format!("[{}] ", severity.number()) } else { format!(" {}  ", severity.number()) };
        let role = if chosen { severity_role(severity) } else { Role::TextDim };
        line.push_span(Span::styled(text, theme.style(role)));
    }
    line.push_span(Span::styled(form.severity.meaning(), theme.style(Role::Text)));
    if let Some(at) = form.impact_start {
        let text = format!(" · impact since {}", format::moment(cx.now, at, cx.zone));
        line.push_span(Span::styled(text, theme.style(Role::TextDim)));
    }
    buf.set_line(second.x, second.y, &line, second.width);
    Some(if form.on_severity { Position::new(second.x + 9, second.y) } else { cursor })
}

fn draw_editor(pane: &IncidentPane, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let editing = pane.editing.as_ref()?;
    let text = Rect { height: text_height(cx).min(area.height), ..area };
    let Some(editor) = editing.editor() else {
        buf.set_stringn(text.x, text.y, "loading the document", text.width as usize, theme.style(Role::TextDim));
        return None;
    };
    let cursor = editor::view::draw(theme, editor, text, buf);
    if text.height < area.height {
        let place = editor.cursor();
        let status =
            format!("{} · {} · line {} of {}", editing.name(), editing.state, place.line + 1, editor.line_count());
        let status = cut(status.replace(" ·  ·", " ·").as_str(), area.width as usize, theme.ascii);
        buf.set_stringn(area.x, text.bottom(), status, area.width as usize, theme.style(Role::TextDim));
    }
    cursor
}

fn menu(theme: &Theme, what: &str, choices: &[(&str, &str)], area: Rect, buf: &mut Buffer) {
    let mut line = Line::from(Span::styled(format!("{what} "), theme.style(Role::TextStrong)));
    for (key, meaning) in choices {
        line.push_span(Span::styled(format!(" {key}"), theme.style(Role::Key)));
        line.push_span(Span::styled(format!(" {meaning} "), theme.style(Role::Text)));
    }
    buf.set_line(area.x, area.y, &line, area.width);
}

fn severity_role(severity: Severity) -> Role {
    match severity {
        Severity::Sev1 => Role::Sev1,
        Severity::Sev2 => Role::Sev2,
        Severity::Sev3 => Role::Sev3,
        Severity::Sev4 => Role::Sev4,
    }
}
