//! What is listed, and how one row reads at any width.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::backup::JobRow;
use crate::domain::backup::run::{CopyRow, CopyState, Run, RunState, Verification};
use crate::domain::format;
use crate::domain::host::NOBODY;
use crate::domain::ids::{JobId, RunId};
use crate::domain::sanitise;
use crate::panes::Context;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::{progress, wrap};

/// Longest name before it is cut: the times behind it matter more.
const NAME_CELLS_MAX: usize = 20;
/// Below this width a row leaves out duration and change.
const WIDE_CELLS: u16 = 66;
/// Below this width a row leaves out the time of day: how old a copy is matters more.
const MOMENT_CELLS: u16 = 58;
/// Below this width a row leaves out the size too, so that `verified` stays.
const SIZE_CELLS: u16 = 50;
/// Cells of a progress bar.
const BAR_CELLS: usize = 20;

/// One row of the list.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// A run of a job.
    Run(&'a JobRow, &'a Run),
    /// A job that never ran.
    Never(&'a JobRow),
}

/// What a selection holds on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowId {
    /// A run.
    Run(RunId),
    /// A job that never ran.
    Job(JobId),
}

impl Row<'_> {
    /// Its id.
    pub fn id(&self) -> RowId {
        match self {
            Row::Run(_, run) => RowId::Run(run.id.clone()),
            Row::Never(job) => RowId::Job(job.info.id.clone()),
        }
    }

    fn name(&self, cx: &Context<'_>) -> String {
        match self {
            Row::Run(job, _) | Row::Never(job) => cx.board.row_name(job.info.id.host(), job.info.id.name()),
        }
    }

    fn is_lost(&self, cx: &Context<'_>) -> bool {
        match self {
            Row::Run(job, _) | Row::Never(job) => cx.board.lost_since(job.info.id.host()).is_some(),
        }
    }
}

/// Lists every run, newest first; where there is little room, the newest of every job.
pub fn list<'a>(cx: &Context<'a>) -> Vec<Row<'a>> {
    let board = &cx.board.backups;
    let never = board.jobs.iter().filter(|job| job.runs.is_empty()).map(Row::Never);
    // With less room than this a job that runs often would push the others off the screen.
    if board.jobs.len() > 1 && usize::from(cx.height) < board.jobs.len() + 2 {
        let newest = |job: &'a JobRow| {
            let running = job.runs.iter().find(|run| run.state == RunState::Running);
            running.or(job.newest()).map(|run| Row::Run(job, run))
        };
        return board.jobs.iter().filter_map(newest).chain(never).collect();
    }
    board.rows().into_iter().map(|(job, run)| Row::Run(job, run)).chain(never).collect()
}

/// Cells that the names need.
pub fn name_width(cx: &Context<'_>, rows: &[Row<'_>]) -> usize {
    rows.iter().map(|row| row.name(cx).width()).max().unwrap_or(0).min(NAME_CELLS_MAX)
}

/// Draws a row.
pub fn line(cx: &Context<'_>, theme: &Theme, row: &Row<'_>, names: usize, width: u16) -> Line<'static> {
    let name: String = row.name(cx).chars().take(NAME_CELLS_MAX).collect();
    let name = format!("{name:<names$}  ");
    // What a host last said stays, marked and in a colour that says nothing about now.
    let is_lost = row.is_lost(cx);
    let name_role = if is_lost { Role::TextDim } else { Role::Text };
    match row {
        Row::Never(job) => {
            let next =
                job.next.map(|it| format!(", first run {}", format::moment(cx.now, it, cx.zone))).unwrap_or_default();
            Line::from(vec![
                Span::styled("- ", theme.style(Role::TextDim)),
                Span::styled(name, theme.style(Role::Text)),
                Span::styled(format!("never ran{next}"), theme.style(Role::TextDim)),
            ])
        }
        Row::Run(job, run) => {
            let (mark, role) = if is_lost { ('?', Role::TextDim) } else { mark(run) };
            let mut spans =
                vec![Span::styled(format!("{mark} "), theme.style(role)), Span::styled(name, theme.style(name_role))];
            match run.state {
                RunState::Running => running(theme, job, &mut spans),
                RunState::Ok | RunState::Partial | RunState::Inconsistent => {
                    stored(cx, theme, job, run, width, &mut spans)
                }
                RunState::Failed | RunState::Missed | RunState::Interrupted | RunState::Skipped => {
                    without(cx, theme, run, role, width, &mut spans)
                }
            }
            Line::from(spans)
        }
    }
}

/// The mark and colour of a run; the mark alone tells the states apart.
fn mark(run: &Run) -> (char, Role) {
    match (run.state, run.verification()) {
        (RunState::Running, _) => ('~', Role::Progress),
        (RunState::Failed, _) | (_, Verification::Corrupt) => ('x', Role::BackupFailed),
        (RunState::Missed | RunState::Interrupted, _) => ('!', Role::BackupMissed),
        (RunState::Skipped, _) => ('-', Role::TextDim),
        (RunState::Partial | RunState::Inconsistent, _) | (_, Verification::NoCopy) => ('!', Role::BackupFailed),
        (RunState::Ok, Verification::Verified) => ('o', Role::BackupVerified),
        (RunState::Ok, Verification::Partly | Verification::NotVerified) => ('?', Role::BackupOk),
    }
}

fn when(cx: &Context<'_>, run: &Run, width: u16) -> String {
    let ago = format!("{:>8}  ", format::ago(cx.now, run.data_at()));
    if width < MOMENT_CELLS {
        return ago;
    }
    format!("{:<11}  {ago}", format::moment(cx.now, run.slot.unwrap_or(run.started), cx.zone))
}

fn running(theme: &Theme, job: &JobRow, spans: &mut Vec<Span<'static>>) {
    let Some((_, progress)) = &job.progress else {
        spans.push(Span::styled("running", theme.style(Role::Progress)));
        return;
    };
    spans.push(Span::styled(format!("{:<9} ", progress.stage.word()), theme.style(Role::Progress)));
    if let Some(ratio) = progress.ratio() {
        // The number first: in a narrow pane the end of the bar is cut.
        spans.push(Span::styled(format!("{:>3.0}% ", ratio * 100.0), theme.style(Role::Text)));
        spans.extend(progress::bar(theme, ratio, BAR_CELLS));
    }
    let total = progress.total_bytes.map(|it| format!(" of {}", format::bytes(it))).unwrap_or_default();
    spans.push(Span::styled(format!("  {}{total}", format::bytes(progress.done_bytes)), theme.style(Role::TextDim)));
}

/// A run that left nothing: the reason stands where the numbers would.
fn without(cx: &Context<'_>, theme: &Theme, run: &Run, role: Role, width: u16, spans: &mut Vec<Span<'static>>) {
    spans.push(Span::styled(when(cx, run, width), theme.style(Role::TextDim)));
    spans.push(Span::styled(run.state.word(), theme.style(role)));
    if let Some(error) = &run.error {
        spans.push(Span::styled(format!(": {}", sanitise::text(error)), theme.style(Role::Text)));
    }
}

fn stored(cx: &Context<'_>, theme: &Theme, job: &JobRow, run: &Run, width: u16, spans: &mut Vec<Span<'static>>) {
    let wide = width >= WIDE_CELLS;
    spans.push(Span::styled(when(cx, run, width), theme.style(Role::TextDim)));
    if wide {
        let took = run.duration_ms.map(|it| format::duration(Duration::from_millis(it))).unwrap_or_default();
        spans.push(Span::styled(format!("{took:>6}  "), theme.style(Role::Text)));
    }
    if width >= SIZE_CELLS {
        let size = run.raw_bytes.map(format::bytes).unwrap_or_default();
        spans.push(Span::styled(format!("{size:>5} "), theme.style(Role::Text)));
    }
    if wide {
        let sign = if theme.ascii { "" } else { "Δ" };
        let change = job.change(&run.id).map(|it| format!("{sign}{:+.1}%", it * 100.0)).unwrap_or_default();
        spans.push(Span::styled(format!("{change:<8} "), theme.style(Role::TextDim)));
    }
    spans.push(Span::raw(" "));
    for copy in &run.copies {
        spans.push(copy_span(theme, copy));
        spans.push(Span::raw(" "));
    }
    let (word, role) = match (run.state, run.verification()) {
        (_, Verification::Corrupt) => ("corrupt", Role::BackupFailed),
        (RunState::Inconsistent, _) => ("inconsistent", Role::BackupFailed),
        (RunState::Partial, _) => ("partial", Role::BackupFailed),
        (_, verification @ (Verification::Verified | Verification::Partly)) => {
            (verification.word(), Role::BackupVerified)
        }
        (_, Verification::NotVerified) => ("not verified", Role::BackupOk),
        (_, Verification::NoCopy) => ("missing", Role::BackupFailed),
    };
    spans.push(Span::styled(format!(" {word}"), theme.style(role)));
    // A verification by hand has no row of its own.
    let progress = job.progress.as_ref().filter(|(id, _)| *id == run.id);
    if let Some((progress, ratio)) = progress.and_then(|(_, it)| Some((it, it.ratio()?))) {
        spans.push(Span::styled(
            format!("  {} {:.0}%", progress.stage.word(), ratio * 100.0),
            theme.style(Role::Progress),
        ));
    }
    if let Some(late) = run.late_ms() {
        let late = format::age(Duration::from_millis(late.unsigned_abs()));
        spans.push(Span::styled(format!("  late {late}"), theme.style(Role::TextDim)));
    }
}

/// `disk✓`, in ASCII `disk:ok`.
fn copy_span(theme: &Theme, copy: &CopyRow) -> Span<'static> {
    let (sign, ascii, role) = match copy.state {
        CopyState::Verified { .. } => ("✓", ":ok", Role::BackupVerified),
        CopyState::Stored => ("?", ":?", Role::BackupOk),
        CopyState::Failed { .. } | CopyState::Corrupt { .. } | CopyState::Missing { .. } => {
            ("✗", ":x", Role::BackupFailed)
        }
    };
    let sign = if theme.ascii { ascii } else { sign };
    Span::styled(format!("{}{sign}", sanitise::text(&copy.destination)), theme.style(role))
}

/// Another runtime holds the state directory, and with it the jobs.
const ELSEWHERE: &str = "no backups here: another hotseat on this host runs them";

/// Why a screen that only reads has no jobs.
pub fn elsewhere(holder: &str) -> &'static str {
    if holder == NOBODY { "no backup is made: nobody watches this host" } else { ELSEWHERE }
}

/// What to do when there is no job.
pub fn draw_empty(theme: &Theme, standby: Option<&str>, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    let (sentence, example) = match standby {
        Some(holder) => (elsewhere(holder), [].as_slice()),
        None => ("no backup jobs: run `hotseat init`, then add one to the config", EXAMPLE),
    };
    let example = example.iter().map(|it| wrap::cut(it, width, theme.ascii));
    let lines = wrap::wrap_at_blanks(sentence, width).into_iter().chain(example);
    for (y, text) in (area.y..area.bottom()).zip(lines) {
        buf.set_stringn(area.x, y, text, width, theme.style(Role::TextDim));
    }
}

/// A job, below a blank row.
const EXAMPLE: &[&str] = &[
    "",
    "[[backup]]",
    "name   = \"orders-db\"",
    "sqlite = \"/var/lib/app/orders.db\"",
    "at     = \"daily 01:00\"",
    "to     = \"/backup/orders\"",
];
