//! Several records at once: selected from one to another, copied, pinned, written into a file.

use std::ops::Range;

use crate::app::effect::{Effect, Notice};
use crate::domain::export::{ExportFormat, ExportNews, ExportRequest};
use crate::domain::format;
use crate::domain::log::{Position, Record, Row};
use crate::domain::request::Request;
use crate::domain::sanitise;
use crate::panes::Context;
use crate::panes::logs::LogsPane;
use crate::panes::logs::feed::Spot;

/// Hosts that are named one by one when something of them is missing in a file.
const HOSTS_NAMED: usize = 3;

/// What is written into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported {
    /// The selected records.
    Selection,
    /// Everything that passes the filter.
    Matches,
    /// Everything.
    Everything,
}

/// A selection that was begun at a record and goes to the current one.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    begun: Spot,
}

impl LogsPane {
    /// Begins to select at the current record, or stops selecting.
    pub(super) fn select_records(&mut self, cx: &Context<'_>) -> Vec<Effect> {
        if self.selection.take().is_some() {
            return Vec::new();
        }
        let Some(begun) = self.current_spot() else { return vec![Notice::warn("no record to select here")] };
        self.pause(cx);
        self.selection = Some(Selection { begun });
        // The footer says what the keys mean now.
        Vec::new()
    }

    /// The selected rows among those loaded. What was begun further away goes to the end of what is loaded.
    pub(super) fn selected_rows(&self) -> Option<Range<usize>> {
        let selection = self.selection.as_ref()?;
        let rows = self.rows();
        let current = self.current()?;
        let begun = rows.find(&selection.begun).unwrap_or_else(|| {
            let first = rows.rows.iter().find_map(Row::position);
            let is_older = first.is_none_or(|it| selection.begun.position.time < it.time);
            if is_older { 0 } else { rows.rows.len() - 1 }
        });
        Some(begun.min(current)..begun.max(current) + 1)
    }

    /// How many records are selected; `None` when some of them are not loaded.
    pub(super) fn selected_count(&self) -> Option<usize> {
        self.selection.as_ref().filter(|it| self.rows().find(&it.begun).is_some())?;
        let range = self.selected_rows()?;
        Some(self.rows().rows[range].iter().filter(|row| matches!(row, Row::Record(_))).count())
    }

    /// The first and the last selected record.
    fn selected_ends(&self) -> Option<(Position, Position)> {
        let selection = self.selection.as_ref()?;
        let range = self.selected_rows()?;
        let current = self.current_spot()?.position;
        let begun = selection.begun.position.clone();
        // The current row is at one end of the range, and the selection was begun at the other.
        Some(if self.current() == Some(range.start) { (current, begun) } else { (begun, current) })
    }

    /// Copies the current record, or the selected ones, as they are in the file (sanitised).
    pub(super) fn copy(&mut self, _cx: &Context<'_>) -> Vec<Effect> {
        if self.selection.is_some() && self.selected_count().is_none() {
            return vec![Notice::warn("the selection begins outside of what is loaded: `Y` writes it into a file")];
        }
        let rows = &self.rows().rows;
        let records: Vec<&Record> = match self.selected_rows() {
            Some(range) => rows[range].iter().filter_map(record).collect(),
            None => self.current_record().into_iter().collect(),
        };
        if records.is_empty() {
            return vec![Notice::warn("no record to copy here")];
        }
        let lines: Vec<&str> = records.iter().flat_map(|it| original(it)).map(String::as_str).collect();
        let mut what = format::plural(records.len() as u64, "record");
        if lines.len() > records.len() {
            what.push_str(&format!(", {}", format::plural(lines.len() as u64, "line")));
        }
        let copy = Effect::copy(&lines.join("\n"), what);
        self.selection = None;
        vec![copy]
    }

    /// What an export would write now.
    pub(super) fn exported(&self, cx: &Context<'_>) -> Exported {
        match (&self.selection, self.ask(cx).query.is_empty()) {
            (Some(_), _) => Exported::Selection,
            (None, false) => Exported::Matches,
            (None, true) => Exported::Everything,
        }
    }

    /// A name for the file that nothing else has: what is in it, and when it was written.
    pub(super) fn proposed_file(&self, cx: &Context<'_>) -> String {
        let source = match cx.board.logs.sources.as_slice() {
            [only] => sanitise::file_name(&only.name),
            _ => "logs".to_string(),
        };
        let at = cx.now.to_zoned(cx.zone.clone()).strftime("%Y%m%d-%H%M%S").to_string();
        format!("hotseat-{source}-{at}.log")
    }

    /// Asks for the records in a file.
    pub(super) fn export(&mut self, cx: &Context<'_>, what: Exported, path: &str) -> Vec<Effect> {
        if path.trim().is_empty() {
            return vec![Notice::warn("nothing was written: the file needs a name")];
        }
        let ends = if what == Exported::Selection { self.selected_ends() } else { None };
        let (from, until) = ends.map_or((None, None), |(from, until)| (Some(from), Some(until)));
        let ask = self.ask(cx);
        let request = ExportRequest {
            path: path.trim().to_string(),
            format: ExportFormat::of_path(path.trim()),
            query: ask.query,
            sources: ask.sources,
            muted: ask.muted,
            from,
            until,
        };
        self.selection = None;
        self.exporting = Some((0, 0));
        vec![Effect::Request(Request::Export(Box::new(request)))]
    }

    /// Takes in how writing goes.
    pub(super) fn export_news(&mut self, news: &ExportNews) -> Vec<Effect> {
        self.exporting = None;
        match news {
            ExportNews::Writing { records, bytes } => {
                self.exporting = Some((*records, *bytes));
                Vec::new()
            }
            ExportNews::Finished { path, records, bytes, gaps, missing } => {
                let gaps = match gaps {
                    0 => String::new(),
                    gaps => format!(", {} among them", format::plural(*gaps, "gap")),
                };
                let (records, bytes) = (format::plural(*records, "record"), format::bytes(*bytes));
                if missing.is_empty() {
                    return vec![Notice::info(format!("wrote {records} ({bytes}{gaps}) to `{path}`"))];
                }
                let host = |it: &String| it.split_once(": ").map_or(it.clone(), |(host, _)| host.to_string());
                let hosts = match missing.as_slice() {
                    few if few.len() <= HOSTS_NAMED => few.iter().map(host).collect::<Vec<_>>().join(", "),
                    many => format!("all of {} hosts", many.len()),
                };
                let text = format!("wrote {records} ({bytes}{gaps}) without {hosts} to `{path}`: its end says why");
                vec![Notice::warn(sanitise::text(&text))]
            }
            ExportNews::Stopped => vec![Notice::info("writing stopped; nothing of the file is kept")],
            ExportNews::Failed(why) => vec![Notice::error(why)],
        }
    }
}

/// The lines of a record as they are in its source.
pub fn original(record: &Record) -> &Vec<String> {
    record.original.as_ref().unwrap_or(&record.lines)
}

fn record(row: &Row) -> Option<&Record> {
    match row {
        Row::Record(record) => Some(record),
        Row::Gap(_) | Row::Break => None,
    }
}
