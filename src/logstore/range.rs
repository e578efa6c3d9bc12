//! Meets the records of a range once, oldest first, however large it is: what a screen exports.

use std::io;

use crate::domain::ids::SourceId;
use crate::domain::log::{Look, Position, Row};
use crate::domain::query::matcher::Matcher;
use crate::domain::sanitise::Tabs;
use crate::logstore::block::BLOCK_BYTES;
use crate::logstore::engine::{Engine, Inner};
use crate::logstore::merge::Merge;
use crate::logstore::place::seek;
use crate::logstore::present::Presenter;
use crate::logstore::source::Snapshot;
use crate::logstore::walk::{Direction, Ground, Place, Step, Walk};
use crate::logstore::window::places_at;

/// Which records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    /// Sources to read; empty is all.
    pub sources: Vec<SourceId>,
    /// Sources left out.
    pub muted: Vec<SourceId>,
    /// The first record; `None` is the oldest.
    pub from: Option<Position>,
    /// The last record; `None` is the newest there is now.
    pub until: Option<Position>,
}

/// How a pass through a range ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// Everything in it was met.
    Whole,
    /// Nobody wanted it any more.
    Stopped,
}

/// Hands every record and gap of the range that passes to `take`, with the name of its source.
///
/// `go_on` is asked after every block that was read and before every row.
///
/// # Errors
/// Those of `take`.
pub fn each(
    engine: &Engine,
    matcher: &Matcher,
    range: &Range,
    go_on: &dyn Fn() -> bool,
    take: &mut dyn FnMut(&str, Row) -> io::Result<()>,
) -> io::Result<Passed> {
    let inner = engine.inner();
    let mut snapshots = inner.snapshots(&range.sources, matcher);
    snapshots.retain(|it| !range.muted.contains(&it.source.id));
    let starts = range.from.as_ref().map(|it| places_at(&inner.reader, &snapshots, it));
    let ends = range.until.as_ref().map(|it| ends_behind(inner, &snapshots, it));
    let ground = Ground { reader: &inner.reader, matcher, known: None, unit: BLOCK_BYTES };
    let walks = snapshots.iter().enumerate().map(|(index, snapshot)| {
        let walk = match &starts {
            Some(starts) => Walk::new(ground, snapshot, index, starts[index], Direction::Forward),
            None => Walk::new(ground, snapshot, index, Place::START, Direction::Forward).from_the_edge(),
        };
        let walk = walk.without_tail();
        match &ends {
            Some(ends) => walk.up_to(ends[index]),
            None => walk,
        }
    });
    let mut merge = Merge::new(walks.collect(), Direction::Forward);
    let (look, tabs) = (Look::Original, Tabs::Kept);
    let presenter = Presenter { snapshots: &snapshots, matcher, search: None, look, tabs, columns: &[] };
    loop {
        if !go_on() {
            return Ok(Passed::Stopped);
        }
        let placed = match merge.step() {
            Step::Item(placed) => placed,
            Step::Pending => continue,
            Step::End => return Ok(Passed::Whole),
        };
        take(&snapshots[placed.source].source.name, presenter.row(&placed, false))?;
    }
}

/// The place in each source behind the last record of a range, whether or not that record passes or is there.
fn ends_behind(inner: &Inner, snapshots: &[Snapshot], until: &Position) -> Vec<Place> {
    let Some(own) = snapshots.iter().position(|it| it.source.id == until.source) else {
        // Its source is gone or left out: what has its time belongs to the range.
        let end = |it| until.time.map_or_else(|| Place::end_of(it), |time| seek(&inner.reader, it, time, true));
        return snapshots.iter().map(end).collect();
    };
    let mut places = places_at(&inner.reader, snapshots, until);
    // The last record is part of the range.
    places[own].offset = places[own].offset.saturating_add(1);
    places
}
