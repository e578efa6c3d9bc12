//! Counts what matched since a time and keeps the newest of it: what a check looks at.
//!
//! Walks each source from its end back to that time and no further, without a view of its own: nothing that
//! a screen shows is disturbed, and no counts are kept.

use jiff::Timestamp;

use crate::domain::log::{GapKind, Look, Row};
use crate::domain::query::matcher::Matcher;
use crate::domain::sanitise::Tabs;
use crate::logstore::block::{BLOCK_BYTES, PAGE_BYTES};
use crate::logstore::engine::Engine;
use crate::logstore::place::seek;
use crate::logstore::present::Presenter;
use crate::logstore::source::Snapshot;
use crate::logstore::store::Stop;
use crate::logstore::walk::{Direction, Ground, Item, Place, Placed, Step, Walk};

/// What is looked for.
pub struct Wanted<'a> {
    /// What counts; should ask for records since `since` as well, so that a store elsewhere is asked for no more.
    pub matcher: &'a Matcher,
    /// Name of the log whose sources are read: its own, or `name:file` of several files. `None` is all.
    pub log: Option<&'a str>,
    /// Older records are not looked at.
    pub since: Timestamp,
    /// Counts no further than this.
    pub count_max: u64,
    /// Newest matches that are kept.
    pub keep: usize,
}

/// A match that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// When, or when it arrived.
    pub at: Timestamp,
    /// Name of its source.
    pub source: String,
    /// Its first line, sanitised.
    pub line: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// Records that matched, at most `Wanted::count_max`.
    pub count: u64,
    /// The newest of them, newest first.
    pub newest: Vec<Match>,
    /// Sources that were looked at.
    pub sources: usize,
    /// Sources that could not be read, with the reason.
    pub unread: Vec<(String, String)>,
    /// Nobody waited any more, so that not everything was looked at.
    pub is_stopped: bool,
}

/// Looks at everything since a time. Reads files: not for a thread that must not wait.
pub fn recent(engine: &Engine, wanted: &Wanted<'_>, stop: &Stop) -> Recent {
    let inner = engine.inner();
    let mut snapshots = inner.snapshots(&[], wanted.matcher);
    snapshots.retain(|it| wanted.log.is_none_or(|log| is_of(&it.source.name, log)));
    for snapshot in &mut snapshots {
        snapshot.stop_when(stop);
    }
    let mut result = Recent { sources: snapshots.len(), ..Recent::default() };
    let (look, tabs) = (Look::Readable, Tabs::Blanks);
    let presenter =
        Presenter { snapshots: &snapshots, matcher: wanted.matcher, search: None, look, tabs, columns: &[] };
    for (index, snapshot) in snapshots.iter().enumerate() {
        if let Some(why) = snapshot.tail.as_ref().and_then(|it| unread(&it.kind)) {
            result.unread.push((snapshot.source.name.clone(), why));
        }
        let floor = seek(&inner.reader, snapshot, wanted.since, false);
        let unit = if is_long_way(snapshot, floor) { BLOCK_BYTES } else { PAGE_BYTES };
        let ground = Ground { reader: &inner.reader, matcher: wanted.matcher, known: None, unit };
        let end = Place::end_of(snapshot);
        let mut walk = Walk::new(ground, snapshot, index, end, Direction::Backward).down_to(floor);
        let mut kept = 0;
        while result.count < wanted.count_max {
            if stop.is_wanted() {
                result.is_stopped = true;
                return result;
            }
            match walk.step() {
                Step::Item(placed @ Placed { item: Item::Record(_), .. }) => {
                    result.count += 1;
                    // Of each source its newest: which of them are the newest of all is known at the end.
                    if kept < wanted.keep {
                        kept += 1;
                        keep(&presenter, &placed, &mut result.newest);
                    }
                }
                Step::Item(Placed { item: Item::Gap { mark, .. }, .. }) => {
                    if let Some(why) = unread(&mark.kind) {
                        result.unread.push((snapshot.source.name.clone(), why));
                    }
                }
                Step::Pending => {}
                Step::End => break,
            }
        }
    }
    result.newest.sort_by_key(|it| std::cmp::Reverse(it.at));
    result.newest.truncate(wanted.keep);
    result
}

/// True when a source belongs to a log: it has its name, or is one of its files.
pub fn is_of(source: &str, log: &str) -> bool {
    source.strip_prefix(log).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

fn is_long_way(snapshot: &Snapshot, floor: Place) -> bool {
    let left: u64 = snapshot.parts.iter().skip(floor.part).map(|it| it.size_bytes).sum();
    left.saturating_sub(floor.offset) > BLOCK_BYTES
}

fn keep(presenter: &Presenter<'_>, placed: &Placed, newest: &mut Vec<Match>) {
    if let Row::Record(record) = presenter.row(placed, false) {
        let source = presenter.snapshots[placed.source].source.name.clone();
        newest.push(Match { at: placed.at, source, line: record.lines.into_iter().next().unwrap_or_default() });
    }
}

/// Why a source cannot be read; `None` when it only has ended or was rotated.
fn unread(kind: &GapKind) -> Option<String> {
    match kind {
        GapKind::Missing => Some("the file does not exist".into()),
        GapKind::Deleted => Some("the file was deleted".into()),
        GapKind::PermissionDenied => Some("permission denied".into()),
        GapKind::Failed(why) => Some(why.clone()),
        GapKind::Broken { why, .. } => Some(why.clone()),
        GapKind::Rotated
        | GapKind::Truncated { .. }
        | GapKind::Dropped { .. }
        | GapKind::Ended
        | GapKind::Reconnected { .. }
        | GapKind::Cut { .. } => None,
    }
}
