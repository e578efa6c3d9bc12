//! Meets the records of a range once, oldest first, however large it is: what a screen exports.

use std::io;

use crate::domain::ids::SourceId;
use crate::domain::log::{Look, Position, Row};
use crate::domain::query::matcher::Matcher;
use crate::logstore::block::BLOCK_BYTES;
use crate::logstore::engine::Engine;
use crate::logstore::merge::Merge;
use crate::logstore::place::place;
use crate::logstore::present::Presenter;
use crate::logstore::walk::{Direction, Ground, Item, Place, Step, Walk};
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
    let until = range.until.as_ref().map(|until| {
        let own = snapshots.iter().find(|it| it.source.id == until.source);
        (until, own.map_or(Place::START, |it| place(it, &until.cursor)))
    });
    let ground = Ground { reader: &inner.reader, matcher, known: None, unit: BLOCK_BYTES };
    let walks = snapshots.iter().enumerate().map(|(index, snapshot)| {
        let walk = match &starts {
            Some(starts) => Walk::new(ground, snapshot, index, starts[index], Direction::Forward),
            None => Walk::new(ground, snapshot, index, Place::START, Direction::Forward).from_the_edge(),
        };
        walk.without_tail()
    });
    let mut merge = Merge::new(walks.collect(), Direction::Forward);
    let look = Look::Original;
    let presenter = Presenter { snapshots: &snapshots, matcher, search: None, look, columns: &[] };
    loop {
        if !go_on() {
            return Ok(Passed::Stopped);
        }
        let placed = match merge.step() {
            Step::Item(placed) => placed,
            Step::Pending => continue,
            Step::End => return Ok(Passed::Whole),
        };
        let snapshot = &snapshots[placed.source];
        let mut is_last = false;
        if let (Some((until, end)), Item::Record(found)) = (&until, &placed.item) {
            if snapshot.source.id == until.source {
                // The last record itself may not pass.
                if *end < found.place {
                    return Ok(Passed::Whole);
                }
                is_last = *end == found.place;
            } else if until.time.is_some_and(|it| it < placed.at) {
                continue;
            }
        }
        take(&snapshot.source.name, presenter.row(&placed, false))?;
        if is_last {
            return Ok(Passed::Whole);
        }
    }
}
