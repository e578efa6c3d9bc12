//! Builds the rows of a window: the matches around an anchor, their context, and what is missing between.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::domain::log::{Anchor, Find, GapKind, Position, Row, WindowRequest};
use crate::domain::query::matcher::{Matcher, Pattern};
use crate::logstore::block::reader::BlockReader;
use crate::logstore::merge::{Help, Merge};
use crate::logstore::place::{clock_at, place, position, seek};
use crate::logstore::present::Presenter;
use crate::logstore::scan::goal::Goal;
use crate::logstore::source::Snapshot;
use crate::logstore::walk::{Direction, Ground, Item, Place, Placed, Step, Walk};

/// Records a window may be asked for: ten screens of 200 rows.
pub const MAX_WINDOW_RECORDS: u32 = 2000;
/// Records of context on each side of a match.
const MAX_CONTEXT: u32 = 100;

/// A row with what places it.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Time it is merged by.
    pub at: Timestamp,
    /// Index of its source in the view.
    pub source: usize,
    /// Where it is.
    pub place: Place,
    /// A gap at the end of its source, which may go away again.
    pub is_tail: bool,
    /// The row itself.
    pub row: Row,
}

/// What was built.
#[derive(Debug, Default)]
pub struct Built {
    /// Rows in display order.
    pub rows: Vec<Keyed>,
    /// Index of the record at the anchor.
    pub anchor_row: Option<usize>,
    /// Nothing older passes.
    pub at_head: bool,
    /// Nothing newer passes.
    pub at_tail: bool,
    /// What could not be given, in words.
    pub missing: Option<String>,
}

/// A newer request came while building.
#[derive(Debug)]
pub struct Cancelled;

/// One side of an anchor.
struct Side<'a> {
    merge: Merge<'a>,
    /// The nearest first.
    rows: Vec<Keyed>,
    /// Records still wanted.
    left: usize,
    is_ended: bool,
}

impl<'a> Side<'a> {
    fn new(merge: Merge<'a>, want: usize) -> Self {
        Self { merge, rows: Vec::new(), left: want, is_ended: false }
    }

    fn is_wanted(&self) -> bool {
        self.left > 0 && !self.is_ended
    }
}

/// What a window is built from.
pub struct Builder<'a> {
    /// Where walks go.
    pub ground: Ground<'a>,
    /// The sources.
    pub snapshots: &'a [Snapshot],
    /// Makes rows.
    pub presenter: &'a Presenter<'a>,
    /// What is known of the records that a jump looks for.
    pub find: Option<&'a Goal>,
    /// Uses all cores.
    pub help: Help<'a>,
    /// Asked after every block; `false` stops. It is shown the rows found so far, in display order.
    pub go_on: &'a dyn Fn(&mut dyn FnMut() -> Built) -> bool,
}

impl<'a> Builder<'a> {
    /// Builds the window of a request.
    ///
    /// # Errors
    /// When it was cancelled.
    pub fn build(&self, request: &WindowRequest, search: Option<&Pattern>) -> Result<Built, Cancelled> {
        let before = request.before.min(MAX_WINDOW_RECORDS) as usize;
        let after = request.after.min(MAX_WINDOW_RECORDS) as usize;
        let context = request.context.min(MAX_CONTEXT) as usize;
        let mut built = match &request.anchor {
            Anchor::Tail => self.tail(before + after, None)?,
            Anchor::Head => self.head(before + after)?,
            Anchor::At(position) => self.around(&self.places_at(position), before, after)?,
            Anchor::Time(time) => self.around(&self.places_of(*time, false), before, after)?,
            Anchor::Find { from, backwards, find } => {
                let start = from.as_ref().map(|position| (self.places_at(position), position));
                match self.find(
                    start.as_ref().map(|(places, _)| places.as_slice()),
                    from.as_ref(),
                    *backwards,
                    find,
                    search,
                )? {
                    Some(places) => self.around(&places, before, after)?,
                    None => {
                        let mut built = match start {
                            Some((places, _)) => self.around(&places, before, after)?,
                            None => self.tail(before + after, None)?,
                        };
                        built.missing = Some(nothing_found(find, *backwards));
                        built
                    }
                }
            }
        };
        if context > 0 {
            self.add_context(&mut built, context);
        }
        Ok(built)
    }

    /// The newest `want` records; with `floors` only those at or behind them.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn tail(&self, want: usize, floors: Option<&[Place]>) -> Result<Built, Cancelled> {
        let walks = self.snapshots.iter().enumerate().map(|(index, snapshot)| {
            let walk =
                Walk::new(self.ground, snapshot, index, Place::end_of(snapshot), Direction::Backward).from_the_edge();
            match floors {
                Some(floors) => walk.down_to(floors[index]),
                None => walk,
            }
        });
        let mut merge = Merge::new(walks.collect(), Direction::Backward).with_help(self.help);
        let mut rows = self.collect(&mut merge, want)?;
        rows.reverse();
        Ok(Built { rows, at_tail: true, at_head: merge.is_over(), ..Built::default() })
    }

    fn head(&self, want: usize) -> Result<Built, Cancelled> {
        let walks = self.snapshots.iter().enumerate().map(|(index, snapshot)| {
            Walk::new(self.ground, snapshot, index, Place::START, Direction::Forward).from_the_edge()
        });
        let mut merge = Merge::new(walks.collect(), Direction::Forward).with_help(self.help);
        let rows = self.collect(&mut merge, want)?;
        let anchor_row = rows.iter().position(|it| matches!(it.row, Row::Record(_)));
        Ok(Built { rows, anchor_row, at_head: true, at_tail: merge.is_over(), ..Built::default() })
    }

    fn around(&self, places: &[Place], before: usize, after: usize) -> Result<Built, Cancelled> {
        let mut newer = Side::new(self.merge(places, Direction::Forward), after);
        let mut older = Side::new(self.merge(places, Direction::Backward), before);
        self.collect_both(&mut older, &mut newer)?;
        // What one side lacks is taken from the other, so that the screen is full.
        let lacking = (newer.left, older.left);
        older.left += lacking.0;
        newer.left += lacking.1;
        self.collect_both(&mut older, &mut newer)?;
        let (mut ahead, behind) = (older.rows, newer.rows);
        ahead.reverse();
        // A stretch that can not be read is met from both sides.
        ahead.retain(|it| !behind.iter().any(|other| is_same_fault(it, other)));
        let first = ahead.len();
        let anchor = behind.iter().position(|it| matches!(it.row, Row::Record(_))).map(|it| first + it);
        let mut rows = ahead;
        rows.extend(behind);
        let anchor_row = anchor.or_else(|| rows.iter().rposition(|it| matches!(it.row, Row::Record(_))));
        Ok(Built { rows, anchor_row, at_head: older.merge.is_over(), at_tail: newer.merge.is_over(), missing: None })
    }

    /// Goes both ways in turns, a stretch each: what is near is found first, on whichever side it stands.
    fn collect_both(&self, older: &mut Side<'a>, newer: &mut Side<'a>) -> Result<(), Cancelled> {
        while older.is_wanted() || newer.is_wanted() {
            for side in [&mut *newer, &mut *older] {
                while side.is_wanted() {
                    match side.merge.step() {
                        Step::Item(placed) => {
                            side.left -= usize::from(matches!(placed.item, Item::Record(_)));
                            side.rows.push(self.keyed(&placed, false));
                        }
                        Step::Pending => break,
                        Step::End => side.is_ended = true,
                    }
                }
            }
            let mut so_far = || {
                let rows = older.rows.iter().rev().chain(&newer.rows).cloned().collect();
                Built { rows, ..Built::default() }
            };
            if !(self.go_on)(&mut so_far) {
                return Err(Cancelled);
            }
        }
        Ok(())
    }

    fn merge(&self, places: &[Place], direction: Direction) -> Merge<'a> {
        let walks = self
            .snapshots
            .iter()
            .enumerate()
            .map(|(index, snapshot)| Walk::new(self.ground, snapshot, index, places[index], direction));
        Merge::new(walks.collect(), direction).with_help(self.help)
    }

    fn collect(&self, merge: &mut Merge<'_>, want: usize) -> Result<Vec<Keyed>, Cancelled> {
        let mut rows: Vec<Keyed> = Vec::new();
        let mut left = want;
        let backward = merge.direction() == Direction::Backward;
        while left > 0 {
            match merge.step() {
                Step::Item(placed) => {
                    left -= usize::from(matches!(placed.item, Item::Record(_)));
                    rows.push(self.keyed(&placed, false));
                }
                Step::Pending => {
                    let mut so_far = || {
                        let mut found = rows.clone();
                        if backward {
                            found.reverse();
                        }
                        Built { rows: found, ..Built::default() }
                    };
                    if !(self.go_on)(&mut so_far) {
                        return Err(Cancelled);
                    }
                }
                Step::End => break,
            }
        }
        Ok(rows)
    }

    fn keyed(&self, placed: &Placed, context: bool) -> Keyed {
        let (place, is_tail) = match &placed.item {
            Item::Record(found) => (found.place, false),
            Item::Gap { place, is_tail, .. } => (*place, *is_tail),
        };
        Keyed { at: placed.at, source: placed.source, place, is_tail, row: self.presenter.row(placed, context) }
    }

    fn places_at(&self, position: &Position) -> Vec<Place> {
        places_at(self.ground.reader, self.snapshots, position)
    }

    fn places_of(&self, time: Timestamp, after_equal: bool) -> Vec<Place> {
        self.snapshots.iter().map(|it| seek(self.ground.reader, it, time, after_equal)).collect()
    }

    /// The places around the record that is looked for.
    fn find(
        &self,
        start: Option<&[Place]>,
        from: Option<&Position>,
        backwards: bool,
        find: &Find,
        search: Option<&Pattern>,
    ) -> Result<Option<Vec<Place>>, Cancelled> {
        let wanted: Matcher = match (find, search) {
            (Find::LevelAtLeast(level), _) => self.ground.matcher.clone().and_level(*level),
            (Find::Search, Some(pattern)) => self.ground.matcher.clone().and_pattern(pattern.clone()),
            (Find::Search, None) => return Ok(None),
        };
        let direction = if backwards { Direction::Backward } else { Direction::Forward };
        let ground = match self.find {
            Some(goal) => Ground { matcher: &goal.matcher, known: Some(goal), ..self.ground },
            None => Ground { matcher: &wanted, ..self.ground },
        };
        let walks = self.snapshots.iter().enumerate().map(|(index, snapshot)| {
            let place = match (start, backwards) {
                (Some(places), _) => places[index],
                (None, true) => Place::end_of(snapshot),
                (None, false) => Place::START,
            };
            Walk::new(ground, snapshot, index, place, direction)
        });
        let mut merge = Merge::new(walks.collect(), direction).with_help(self.help);
        loop {
            match merge.step() {
                Step::Item(Placed { source, item: Item::Record(found), .. }) => {
                    let snapshot = &self.snapshots[source];
                    let position = position(snapshot, found.place, found.time());
                    if from.is_some_and(|it| it.source == position.source && it.cursor == position.cursor) {
                        continue;
                    }
                    return Ok(Some(self.places_at(&position)));
                }
                Step::Item(_) => {}
                Step::Pending => {
                    if !(self.go_on)(&mut Built::default) {
                        return Err(Cancelled);
                    }
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Puts the neighbours of each match beside it, as `grep -C` does.
    fn add_context(&self, built: &mut Built, context: usize) {
        let everything = Matcher::default();
        let ground = Ground { matcher: &everything, known: None, ..self.ground };
        let anchor = built.anchor_row.map(|it| (built.rows[it].source, built.rows[it].place));
        let matches: HashSet<(usize, Place)> =
            built.rows.iter().filter(|it| is_record(it)).map(|it| (it.source, it.place)).collect();
        let mut shown: HashSet<(usize, Place)> = HashSet::new();
        let mut rows: Vec<Keyed> = Vec::new();
        for keyed in std::mem::take(&mut built.rows) {
            if !is_record(&keyed) {
                rows.push(keyed);
                continue;
            }
            let neighbours = |direction, from: Place| {
                let snapshot = &self.snapshots[keyed.source];
                let mut walk = Walk::new(ground, snapshot, keyed.source, from, direction);
                let mut found = Vec::new();
                while found.len() < context {
                    match walk.step() {
                        Step::Item(placed) => {
                            let neighbour = self.keyed(&placed, true);
                            if is_record(&neighbour) && neighbour.place != keyed.place {
                                found.push(neighbour);
                            }
                        }
                        Step::Pending => {}
                        Step::End => break,
                    }
                }
                found
            };
            let mut older = neighbours(Direction::Backward, keyed.place);
            older.reverse();
            older.retain(|it| !matches.contains(&(it.source, it.place)) && !shown.contains(&(it.source, it.place)));
            let mut group = older;
            let newer = neighbours(Direction::Forward, keyed.place);
            let (source, place) = (keyed.source, keyed.place);
            group.push(keyed);
            group.extend(newer.into_iter().take_while(|it| !matches.contains(&(it.source, it.place))));
            shown.extend(group.iter().map(|it| (it.source, it.place)));
            let touches = rows.last().is_none_or(|last| !is_record(last) || self.touch(last, &group[0]));
            if !touches {
                rows.push(Keyed { at: group[0].at, source, place, is_tail: false, row: Row::Break });
            }
            rows.append(&mut group);
        }
        built.anchor_row =
            anchor.and_then(|anchor| rows.iter().position(|it| is_record(it) && (it.source, it.place) == anchor));
        built.rows = rows;
    }

    /// True when nothing stands between two rows of one source; rows of different sources do not touch.
    fn touch(&self, left: &Keyed, right: &Keyed) -> bool {
        if left.source != right.source {
            return false;
        }
        if let Some(look) = &self.snapshots[left.source].store {
            return look.reader.touches(left.place, right.place);
        }
        if left.place.part != right.place.part {
            return false;
        }
        let Row::Record(record) = &left.row else { return true };
        left.place.offset + record.length_bytes == right.place.offset
    }
}

/// True for two rows that say of one place of a source that it can not be read.
pub fn is_same_fault(left: &Keyed, right: &Keyed) -> bool {
    let fault = |it: &Keyed| match &it.row {
        Row::Gap(gap) if matches!(gap.kind, GapKind::Failed(_)) && !it.is_tail => Some(gap.kind.clone()),
        _ => None,
    };
    left.source == right.source && fault(left).is_some() && fault(left) == fault(right)
}

fn is_record(keyed: &Keyed) -> bool {
    matches!(keyed.row, Row::Record(_))
}

/// The place of a position in its source, and in every other source the place of the same time.
pub fn places_at(reader: &BlockReader, snapshots: &[Snapshot], position: &Position) -> Vec<Place> {
    let own = snapshots.iter().position(|it| it.source.id == position.source);
    let own_place = own.map(|index| place(&snapshots[index], &position.cursor));
    let clock = own.zip(own_place).and_then(|(own, at)| clock_at(reader, &snapshots[own], at));
    let time = match (clock.or(position.time), own, own_place) {
        (Some(time), _, _) => Some(time),
        (None, Some(index), Some(at)) => {
            snapshots[index].parts.get(at.part).map(|part| snapshots[index].arrival(part, at.offset))
        }
        _ => None,
    };
    let mut places = Vec::new();
    for (index, snapshot) in snapshots.iter().enumerate() {
        places.push(match (own_place, time) {
            (Some(place), _) if own == Some(index) => place,
            // Of one time, sources go in their order: those before the position's are older.
            (_, Some(time)) => seek(reader, snapshot, time, own.is_some_and(|own| index < own)),
            _ => Place::end_of(snapshot),
        });
    }
    places
}

fn nothing_found(find: &Find, backwards: bool) -> String {
    let what = match find {
        Find::LevelAtLeast(level) => {
            format!("no record at level {} or above", crate::domain::query::level_word(*level))
        }
        Find::Search => "no match".to_string(),
    };
    format!("{what} {} this", if backwards { "before" } else { "after" })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::ids::{HostId, SourceId};
    use crate::domain::log::{Look, ViewId};
    use crate::domain::query::Query;
    use crate::domain::sanitise::Tabs;
    use crate::logstore::block::PAGE_BYTES;
    use crate::logstore::segment::Segment;
    use crate::logstore::source::Source;

    #[test]
    fn what_stands_near_before_the_anchor_is_shown_while_the_way_behind_it_is_still_searched() {
        let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a"));
        let mut text = "2027-01-15T08:00:00Z wanted\n2027-01-15T08:00:01Z here\n".to_string();
        while text.len() < 20 * PAGE_BYTES as usize {
            text.push_str("2027-01-15T08:00:02Z other\n");
        }
        source.push(Segment::memory(0), None).append(text.as_bytes(), Timestamp::UNIX_EPOCH);
        let snapshots = [source.snapshot()];
        let query = Query::parse("wanted").unwrap();
        let matcher = Matcher::new(&query, Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap();
        let (look, tabs) = (Look::Original, Tabs::Blanks);
        let presenter = Presenter { snapshots: &snapshots, matcher: &matcher, search: None, look, tabs, columns: &[] };
        let reader = BlockReader::new(TimeZone::UTC);
        let (looks, shown_at) = (Cell::new(0), Cell::new(None));
        let go_on = |so_far: &mut dyn FnMut() -> Built| {
            looks.set(looks.get() + 1);
            if !so_far().rows.is_empty() && shown_at.get().is_none() {
                shown_at.set(Some(looks.get()));
            }
            true
        };
        let builder = Builder {
            ground: Ground { reader: &reader, matcher: &matcher, known: None, unit: PAGE_BYTES },
            snapshots: &snapshots,
            presenter: &presenter,
            find: None,
            help: Help { threads: 1, stop: &|| false },
            go_on: &go_on,
        };
        let anchor = Anchor::Time("2027-01-15T08:00:01Z".parse().unwrap());
        let built = builder.build(&WindowRequest::new(ViewId(1), 1, anchor, (5, 5)), None).unwrap();
        assert_eq!((built.rows.len(), built.at_head, built.at_tail), (1, true, true));
        assert!(shown_at.get().is_some_and(|it| it <= 2) && looks.get() >= 20, "{shown_at:?} of {looks:?}");
    }
}
