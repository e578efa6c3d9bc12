//! The backups pane: every run, also the failed and the missed ones.
//!
//! `rows` decides what is listed and draws a row, `detail` draws one run with its manifest. The selection is an
//! id, so that rows that arrive above leave it where it is.

mod detail;
mod rows;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use crate::app::effect::{Effect, Notice};
use crate::app::event::{Mouse, MouseKind};
use crate::domain::backup::run::RunState;
use crate::domain::format;
use crate::domain::ids::{JobId, RunId};
use crate::domain::request::Request;
use crate::panes::backups::rows::{Row, RowId};
use crate::panes::{Context, Pane};
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::list::{self, Mark};

/// Rows that the pane asks for on a shared screen: enough to see last night and the nights before.
const WANTED_ROWS_MAX: u16 = 8;
/// Rows moved by one turn of the wheel.
const WHEEL_ROWS: isize = 3;

crate::commands! {
    /// Commands of the backups pane.
    BackupsCommand {
        Down = "backups.down", "Go down", ["j", "down"], "";
        Up = "backups.up", "Go up", ["k", "up"], "";
        PageDown = "backups.page-down", "Go down half a page", ["ctrl-d", "pgdn"], "";
        PageUp = "backups.page-up", "Go up half a page", ["ctrl-u", "pgup"], "";
        Top = "backups.top", "Go to the newest run", ["g", "home"], "";
        Bottom = "backups.bottom", "Go to the oldest run", ["G", "end"], "";
        Detail = "backups.detail", "Show the manifest and the restore commands", ["enter"], "details";
        Run = "backups.run", "Run the selected job now", ["r"], "run now";
        Verify = "backups.verify", "Read the selected run back and compare its hashes", ["v"], "verify";
        Copy = "backups.copy", "Copy the restore commands", ["y"], "copy restore";
    }
}

/// The backups pane: every run, also the failed and the missed ones.
#[derive(Debug, Default)]
pub struct BackupsPane {
    /// `None`: the top row, whichever that is.
    selected: Option<RowId>,
    /// The first row on screen; kept so that the selection is visible.
    first: usize,
    detail: Option<Detail>,
}

/// An open detail view.
#[derive(Debug)]
struct Detail {
    run: RunId,
    scroll: usize,
}

impl Pane for BackupsPane {
    type Command = BackupsCommand;
    const TITLE: &'static str = "BACKUPS";

    fn update(&mut self, cx: &Context<'_>, command: BackupsCommand) -> Vec<Effect> {
        let half = isize::from(cast(cx.height / 2)).max(1);
        match command {
            BackupsCommand::Down => self.step(cx, 1),
            BackupsCommand::Up => self.step(cx, -1),
            BackupsCommand::PageDown => self.step(cx, half),
            BackupsCommand::PageUp => self.step(cx, -half),
            BackupsCommand::Top => self.step(cx, isize::MIN),
            BackupsCommand::Bottom => self.step(cx, isize::MAX),
            BackupsCommand::Detail => return self.open(cx),
            BackupsCommand::Run => return self.run_now(cx),
            BackupsCommand::Verify => return self.verify(cx),
            BackupsCommand::Copy => return self.copy(cx),
        }
        Vec::new()
    }

    fn mouse(&mut self, cx: &Context<'_>, mouse: Mouse) -> Vec<Effect> {
        match mouse.kind {
            MouseKind::WheelUp => self.step(cx, -WHEEL_ROWS),
            MouseKind::WheelDown => self.step(cx, WHEEL_ROWS),
            MouseKind::Press if self.detail.is_none() => {
                let rows = rows::list(cx);
                if let Some(row) = rows.get(self.first_visible(cx, &rows) + usize::from(mouse.row)) {
                    self.selected = Some(row.id());
                }
            }
            MouseKind::Press => {}
        }
        Vec::new()
    }

    fn back(&mut self, _cx: &Context<'_>) -> bool {
        self.detail.take().is_some()
    }

    fn wants_zoom(&self) -> bool {
        self.detail.is_some()
    }

    fn wanted_rows(&self, cx: &Context<'_>) -> u16 {
        let rows: usize = cx.board.backups.jobs.iter().map(|it| it.runs.len().max(1)).sum();
        // One row says that there is nothing, and how to change that.
        u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, WANTED_ROWS_MAX)
    }

    fn title(&self, cx: &Context<'_>, theme: &Theme, _room: usize) -> Line<'static> {
        let jobs = &cx.board.backups.jobs;
        if jobs.is_empty() {
            return Line::default();
        }
        let mut spans = vec![Span::styled(format::plural(jobs.len() as u64, "job"), theme.style(Role::TextDim))];
        let is_lost = |it: &JobId| cx.board.lost_since(it.host()).is_some();
        let live = || jobs.iter().filter(|it| !is_lost(&it.info.id));
        let named = |it: &JobId| crate::domain::sanitise::text(&cx.board.row_name(it.host(), it.name()));
        let is_bad = |state| matches!(state, RunState::Failed | RunState::Interrupted | RunState::Partial);
        let bad = live().filter(|it| it.newest().is_some_and(|run| is_bad(run.state))).count();
        if bad > 0 {
            spans.push(Span::styled(" · ", theme.style(Role::TextDim)));
            spans.push(Span::styled(format!("{bad} failing"), theme.style(Role::BackupFailed)));
        }
        let lost = jobs.len() - live().count();
        if lost > 0 {
            spans.push(Span::styled(format!(" · {lost} of lost hosts"), theme.style(Role::ProbeUnknown)));
        }
        if let Some((next, job)) = live().filter_map(|it| Some((it.next?, &it.info.id))).min() {
            let text = format!(" · next {} {}", format::moment(cx.now, next, cx.zone), named(job));
            spans.push(Span::styled(text, theme.style(Role::TextDim)));
        }
        if let Some((job, held)) = live().find_map(|it| Some((&it.info.id, it.held.as_deref()?))) {
            let whose = if cx.board.is_of_several() { format!("{}: ", named(job)) } else { String::new() };
            let text = format!(" · {whose}{}", crate::domain::sanitise::text(held));
            spans.push(Span::styled(text, theme.style(Role::BackupMissed)));
        }
        Line::from(spans)
    }

    fn view(&self, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
        if let Some(detail) = &self.detail
            && let Some((job, run)) = cx.board.backups.run(&detail.run)
        {
            detail::draw(cx, theme, (job, run), detail.scroll, area, buf);
            return None;
        }
        let rows = rows::list(cx);
        if rows.is_empty() {
            if !cx.draw_absent(theme, area, buf) {
                rows::draw_empty(theme, cx.board.standby.as_deref(), area, buf);
            }
            return None;
        }
        let (selected, first) = (self.selected_index(&rows), self.first_visible(cx, &rows));
        let names = rows::name_width(cx, &rows);
        for (offset, row) in rows.iter().skip(first).take(usize::from(area.height)).enumerate() {
            let y = area.y + cast_row(offset);
            let line = rows::line(cx, theme, row, names, area.width);
            let is_selected = first + offset == selected && (cx.focused || self.selected.is_some());
            list::row(theme, &line, Mark::of(is_selected, cx.focused), Rect::new(area.x, y, area.width, 1), buf);
        }
        None
    }
}

impl BackupsPane {
    /// Moves the selection, or scrolls the detail view; both stop at the ends.
    fn step(&mut self, cx: &Context<'_>, by: isize) {
        if let Some(detail) = &mut self.detail {
            let lines = cx.board.backups.run(&detail.run).map_or(0, |(job, run)| detail::height(cx, job, run));
            let last = lines.saturating_sub(usize::from(cx.height));
            detail.scroll = detail.scroll.saturating_add_signed(by).min(last);
            return;
        }
        let rows = rows::list(cx);
        let Some(last) = rows.len().checked_sub(1) else { return };
        let index = self.selected_index(&rows).saturating_add_signed(by).min(last);
        // The top row is not held on to: it stays the newest.
        self.selected = (index > 0).then(|| rows[index].id());
        self.first = self.first_visible(cx, &rows);
    }

    fn selected_index(&self, rows: &[Row<'_>]) -> usize {
        self.selected.as_ref().and_then(|id| rows.iter().position(|row| row.id() == *id)).unwrap_or(0)
    }

    fn first_visible(&self, cx: &Context<'_>, rows: &[Row<'_>]) -> usize {
        let height = usize::from(cx.height).max(1);
        let selected = self.selected_index(rows);
        let first = self.first.min(rows.len().saturating_sub(height));
        first.clamp((selected + 1).saturating_sub(height), selected)
    }

    /// The job and perhaps the run that a command is about.
    fn subject(&self, cx: &Context<'_>) -> Option<(JobId, Option<RunId>)> {
        if let Some(detail) = &self.detail {
            let (job, run) = cx.board.backups.run(&detail.run)?;
            return Some((job.info.id.clone(), Some(run.id.clone())));
        }
        let rows = rows::list(cx);
        rows.get(self.selected_index(&rows)).map(|row| match row {
            Row::Run(job, run) => (job.info.id.clone(), Some(run.id.clone())),
            Row::Never(job) => (job.info.id.clone(), None),
        })
    }

    fn open(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        match self.subject(cx) {
            Some((_, Some(run))) => {
                self.detail = Some(Detail { run, scroll: 0 });
                Vec::new()
            }
            Some((job, None)) => vec![Notice::info(format!("`{}` never ran: `r` runs it now", job.name()))],
            None => Vec::new(),
        }
    }

    fn run_now(&self, cx: &Context<'_>) -> Vec<Effect> {
        let Some((job, _)) = self.subject(cx) else {
            let elsewhere = cx.board.standby.as_deref().map(rows::elsewhere);
            return vec![Notice::warn(elsewhere.unwrap_or("there is no backup job to run"))];
        };
        let running =
            cx.board.backups.job(&job).is_some_and(|it| it.runs.iter().any(|run| run.state == RunState::Running));
        if running {
            return vec![Notice::warn(format!("backup `{}` is running already", job.name()))];
        }
        vec![Notice::info(format!("backup `{}` asked to run", job.name())), Effect::Request(Request::RunBackup(job))]
    }

    fn verify(&self, cx: &Context<'_>) -> Vec<Effect> {
        let run = self.subject(cx).and_then(|(_, run)| cx.board.backups.run(&run?));
        match run {
            Some((_, run)) if run.state.has_artefact() => vec![
                Notice::info(format!("verifying {}", run.id.name())),
                Effect::Request(Request::VerifyBackup(run.id.clone())),
            ],
            Some((_, run)) => vec![Notice::warn(format!("nothing to verify: this run is {}", run.state.word()))],
            None => vec![Notice::warn("there is no run to verify")],
        }
    }

    fn copy(&self, cx: &Context<'_>) -> Vec<Effect> {
        let run = self.subject(cx).and_then(|(_, run)| cx.board.backups.run(&run?));
        let Some(commands) = run.and_then(|(_, run)| detail::restore_lines(run)) else {
            return vec![Notice::warn("this run has no artefact to restore")];
        };
        vec![Effect::copy(&(commands.join("\n") + "\n"), "restore commands")]
    }
}

fn cast(rows: u16) -> i16 {
    i16::try_from(rows).unwrap_or(i16::MAX)
}

fn cast_row(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
