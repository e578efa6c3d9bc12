//! One run in full: its manifest, its copies, the commands that restore it.

use std::path::Path;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::domain::backup::JobRow;
use crate::domain::backup::manifest::shell_quote;
use crate::domain::backup::run::{CopyState, Run};
use crate::domain::format;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::theme::Theme;
use crate::theme::role::Role;

/// Cells of the labels.
const LABEL_CELLS: usize = 14;

/// One labelled value; it goes on in further rows when it is long.
struct Field {
    label: &'static str,
    value: String,
    role: Role,
}

/// Draws the rows from `scroll` on.
pub fn draw(cx: &Context<'_>, theme: &Theme, (job, run): (&JobRow, &Run), scroll: usize, area: Rect, buf: &mut Buffer) {
    let lines = fields(cx, job, run).into_iter().flat_map(|field| wrap(theme, field, area.width));
    for (y, line) in (area.y..area.bottom()).zip(lines.skip(scroll)) {
        buf.set_line(area.x, y, &line, area.width);
    }
}

/// Rows of the whole view.
pub fn height(cx: &Context<'_>, job: &JobRow, run: &Run) -> usize {
    let theme = Theme::mono();
    fields(cx, job, run).into_iter().map(|field| wrap(&theme, field, cx.width).len()).sum()
}

/// The commands that restore a run, beginning in the folder of its best copy.
pub fn restore_lines(run: &Run) -> Option<Vec<String>> {
    let manifest = run.manifest.as_ref()?;
    let verified = run.copies.iter().find(|it| matches!(it.state, CopyState::Verified { .. }));
    let copy = verified.or_else(|| run.copies.iter().find(|it| it.state == CopyState::Stored))?;
    let folder = Path::new(&copy.location).parent()?.to_str()?;
    let mut lines = vec![format!("cd {}", shell_quote(folder))];
    lines.extend(manifest.restore_commands.iter().cloned());
    Some(lines)
}

fn fields(cx: &Context<'_>, job: &JobRow, run: &Run) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut add = |label, value: String, role| fields.push(Field { label, value: sanitise::text(&value), role });
    let time = |at| format!("{} ({})", format::full(at, cx.zone), format::ago(cx.now, at));
    add("run", run.id.name().to_string(), Role::TextStrong);
    let state = if run.state.has_artefact() {
        format!("{}, {}", run.state.word(), run.verification().word())
    } else {
        run.state.word().to_string()
    };
    add("state", state, Role::TextStrong);
    if let Some(error) = &run.error {
        add("error", error.clone(), Role::BackupFailed);
    }
    for warning in &run.warnings {
        add("warning", warning.clone(), Role::BackupMissed);
    }
    add("source", format!("{} {}", job.info.kind, job.info.source), Role::Text);
    if let Some(schedule) = &job.info.schedule {
        let zone = job.info.zone.as_deref().unwrap_or_default();
        add("schedule", format!("{schedule} {zone}"), Role::Text);
    }
    if let Some(keep) = &job.info.keep {
        add("keep", keep.clone(), Role::Text);
    }
    if let Some(held) = &job.held {
        add("", held.clone(), Role::BackupMissed);
    }
    if let Some(slot) = run.slot {
        let late = run.late_ms().map(|it| format!(", {} late", format::age(Duration::from_millis(it.unsigned_abs()))));
        add("slot", format!("{}{}", format::full(slot, cx.zone), late.unwrap_or_default()), Role::Text);
    }
    add("started", time(run.started), Role::Text);
    if let Some(at) = run.consistent_at {
        add("data as of", time(at), Role::Text);
    }
    if let Some(ms) = run.duration_ms {
        add("took", format::duration(Duration::from_millis(ms)), Role::Text);
    }
    if let (Some(raw), Some(stored)) = (run.raw_bytes, run.stored_bytes) {
        let change = job.change(&run.id).map(|it| format!(", {:+.1}% against the run before", it * 100.0));
        let change = change.unwrap_or_default();
        add("size", format!("{} stored as {}{change}", format::bytes(raw), format::bytes(stored)), Role::Text);
    }
    if let Some(manifest) = &run.manifest {
        add("host", manifest.host.clone(), Role::Text);
        add("consistency", manifest.consistency.clone(), Role::Text);
        add("read by", manifest.source_version.clone(), Role::Text);
        add("artefact", manifest.artefact.clone(), Role::Text);
        add("sha256 raw", manifest.sha256_raw.clone(), Role::TextDim);
        add("sha256 stored", manifest.sha256_stored.clone(), Role::TextDim);
    }
    for copy in &run.copies {
        let (value, role) = match &copy.state {
            CopyState::Verified { at } => {
                (format!("verified {} in {}", format::ago(cx.now, *at), copy.location), Role::BackupVerified)
            }
            CopyState::Stored => (format!("not verified in {}", copy.location), Role::BackupOk),
            other => (
                format!("{}: {} ({})", other.word(), other.error().unwrap_or_default(), copy.location),
                Role::BackupFailed,
            ),
        };
        add("copy", format!("{} {value}", copy.destination), role);
    }
    for (at, line) in restore_lines(run).unwrap_or_default().into_iter().enumerate() {
        add(if at == 0 { "restore (y)" } else { "" }, line, Role::Text);
    }
    fields
}

fn wrap(theme: &Theme, field: Field, width: u16) -> Vec<Line<'static>> {
    let room = usize::from(width).saturating_sub(LABEL_CELLS + 1).max(8);
    let mut rows = vec![String::new()];
    let mut cells = 0;
    for grapheme in field.value.graphemes(true) {
        if cells + grapheme.width() > room {
            rows.push(String::new());
            cells = 0;
        }
        cells += grapheme.width();
        if let Some(row) = rows.last_mut() {
            row.push_str(grapheme);
        }
    }
    let label = |at| if at == 0 { field.label } else { "" };
    let line = |(at, row): (usize, String)| {
        Line::from(vec![
            Span::styled(format!("{:<LABEL_CELLS$} ", label(at)), theme.style(Role::TextDim)),
            Span::styled(row, theme.style(field.role)),
        ])
    };
    rows.into_iter().enumerate().map(line).collect()
}
