//! Answers what a probe was like: points of a graph, percentiles, availability by day.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rusqlite::Connection;

use crate::domain::probe::history::{Day, History, HistoryRequest, POINTS_MAX, Point, UNWATCHED_MIN};
use crate::store::rollup::Marks;
use crate::store::samples::{self, Raw};
use crate::store::tally::{HOURS_S, MINUTES_S, Table, Tally, floor, raws, slots, speaks_until};

/// Days that are answered.
const DAYS_MAX: i32 = 90;

/// How exact an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grain {
    Raw,
    Minutes,
    Hours,
}

impl Grain {
    fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
        }
    }
}

/// Answers a request. `unwritten` are outcomes of the probe that are not in the file yet, oldest first.
pub fn history(
    connection: Option<&Connection>,
    request: &HistoryRequest,
    unwritten: &[Raw],
    now: Timestamp,
) -> rusqlite::Result<History> {
    let now = request.as_of.map_or(now, |it| it.min(now));
    let count = request.points.clamp(1, POINTS_MAX);
    let (from, until) = (request.from.as_microsecond(), request.until.as_microsecond());
    let until = until.max(from + 1);
    let past = match connection {
        Some(connection) => Past::open(connection, request, unwritten)?,
        None => Past { connection: None, marks: Marks::default(), unwritten },
    };
    let mut points = vec![Tally::default(); count];
    let mut whole = Tally::default();
    let known_since = past.known_since()?;
    // From when until when it can be said whether anything looked.
    let speaks =
        known_since.map_or(until, |it| it.as_microsecond().clamp(from, until))..until.min(now.as_microsecond());
    let mut gaps = Gaps { since: speaks.start, found: Vec::new() };
    let wanted = match (until - from) / count as i64 / 1_000_000 {
        ..MINUTES_S => Grain::Raw,
        MINUTES_S..HOURS_S => Grain::Minutes,
        _ => Grain::Hours,
    };
    let mut grain = Grain::Raw;
    past.walk(from..until, wanted, |part| {
        let Part { start, until: spoken, tally, grain: found } = part;
        // A sum that begins a little before the range belongs to its first point.
        let at = i128::from(start.max(from) - from) * count as i128 / i128::from(until - from);
        points[usize::try_from(at).unwrap_or(0).min(count - 1)].merge(tally);
        whole.merge(tally);
        grain = grain.max(found);
        gaps.watched(start, spoken);
    })?;
    gaps.watched(speaks.end, speaks.end);
    let mut points: Vec<Point> = points.iter().map(Tally::point).collect();
    for (index, point) in points.iter_mut().enumerate() {
        let border = |at: usize| from + ((until - from) as i128 * at as i128 / count as i128) as i64;
        point.unwatched = gaps.hold(border(index)..border(index + 1));
    }
    Ok(History {
        generation: request.generation,
        probe: request.probe.clone(),
        from: request.from,
        until: request.until,
        points,
        whole: whole.point(),
        days: past.days(now, &request.zone, known_since)?,
        known_since,
        grain: grain.word().to_string(),
        unwatched: unwatched((speaks.end - speaks.start) / 1000, whole.watched_ms),
    })
}

/// What of a length is left when it was watched for so long (both in milliseconds), where that is worth a word.
fn unwatched(length_ms: i64, watched_ms: i64) -> Duration {
    let left = Duration::from_millis(u64::try_from(length_ms - watched_ms).unwrap_or(0));
    if left < UNWATCHED_MIN { Duration::ZERO } else { left }
}

/// The times for which no run speaks, found while runs are met in their order. All in microseconds.
struct Gaps {
    /// Up to here all is known.
    since: i64,
    found: Vec<Range<i64>>,
}

impl Gaps {
    /// A run speaks for this time.
    fn watched(&mut self, from: i64, until: i64) {
        if i128::from(from) - i128::from(self.since) >= UNWATCHED_MIN.as_micros() as i128 {
            self.found.push(self.since..from);
        }
        self.since = self.since.max(until);
    }

    /// True when all of a time lies in one of them.
    fn hold(&self, time: Range<i64>) -> bool {
        let at = self.found.partition_point(|it| it.end < time.end);
        self.found.get(at).is_some_and(|it| it.start <= time.start)
    }
}

/// What is known of one probe.
struct Past<'a> {
    connection: Option<(&'a Connection, i64)>,
    marks: Marks,
    unwritten: &'a [Raw],
}

/// A stretch and what is known of it.
struct Part<'a> {
    /// When it begins, in microseconds.
    start: i64,
    /// Until when a run speaks that began then; `start` where another part says so.
    until: i64,
    tally: &'a Tally,
    grain: Grain,
}

impl<'a> Past<'a> {
    fn open(connection: &'a Connection, request: &HistoryRequest, unwritten: &'a [Raw]) -> rusqlite::Result<Self> {
        let probe = samples::find(connection, &request.probe)?;
        let marks = Marks::read(connection)?;
        Ok(Self { connection: probe.map(|it| (connection, it)), marks, unwritten })
    }

    /// Hands everything in a range (microseconds) to `each`, at least as fine as `wanted` where that is kept.
    fn walk(&self, range: Range<i64>, wanted: Grain, mut each: impl FnMut(Part<'_>)) -> rusqlite::Result<()> {
        let marks = &self.marks;
        // Up to here hours speak, up to there minutes, then the runs themselves.
        let hours_end = if wanted == Grain::Hours { marks.rolled_hours } else { marks.minutes_since };
        let minutes_end = if wanted == Grain::Raw { marks.raw_since } else { marks.rolled_minutes }.max(hours_end);
        let (from_s, until_s) = (range.start.div_euclid(1_000_000), range.end.div_euclid(1_000_000) + 1);
        let mut raws_from = range.start;
        let mut found = Vec::new();
        if let Some((connection, probe)) = self.connection {
            let hours = floor(from_s, HOURS_S)..hours_end.min(until_s);
            Table::Hours.walk(connection, probe, hours, |start, tally| {
                let (start, until) = (start * 1_000_000, spoken_until(Table::Hours, start, &tally));
                each(Part { start, until, tally: &tally, grain: Grain::Hours });
            })?;
            let minutes = floor(from_s, MINUTES_S).max(hours_end)..minutes_end.min(until_s);
            Table::Minutes.walk(connection, probe, minutes, |start, tally| {
                let (start, until) = (start * 1_000_000, spoken_until(Table::Minutes, start, &tally));
                each(Part { start, until, tally: &tally, grain: Grain::Minutes });
            })?;
            raws_from = raws_from.max(minutes_end * 1_000_000);
            if raws_from < range.end {
                found = raws(connection, probe, raws_from..range.end)?;
            }
        }
        if !self.unwritten.is_empty() {
            // Some of them were written since they were asked for.
            let written: HashSet<Timestamp> = found.iter().map(|it| it.at).collect();
            found.extend(self.unwritten.iter().filter(|it| !written.contains(&it.at)));
            found.sort_by_key(|it| it.at);
        }
        // Counts lie where their run began, times for which runs speak by five minutes.
        for (index, raw) in found.iter().enumerate() {
            let at = raw.at.as_microsecond();
            let mut tally = Tally::default();
            if (raws_from..range.end).contains(&at) {
                tally.add(raw);
            }
            let until = speaks_until(raw, found.get(index + 1).map(|it| it.at)).as_microsecond().min(range.end);
            // The last run before the range may speak for its beginning.
            let start = at.clamp(raws_from, range.end);
            each(Part { start, until: until.max(start), tally: &tally, grain: Grain::Raw });
        }
        for (start, tally) in slots(&found, raws_from..range.end, MINUTES_S) {
            let Tally { known_ms, down_ms, watched_ms, .. } = tally;
            let spoken = Tally { known_ms, down_ms, watched_ms, ..Tally::default() };
            let start = start * 1_000_000;
            each(Part { start, until: start, tally: &spoken, grain: Grain::Raw });
        }
        Ok(())
    }

    /// Availability by day, from the first day of which something is known.
    fn days(&self, now: Timestamp, zone: &str, known_since: Option<Timestamp>) -> rusqlite::Result<Vec<Day>> {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let today = now.to_zoned(zone.clone()).date();
        let starts: Vec<(Date, i64)> = (0..DAYS_MAX)
            .rev()
            .filter_map(|ago| {
                let date = today.checked_sub(ago.days()).ok()?;
                Some((date, date.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond()))
            })
            .collect();
        let Some((_, first)) = starts.first() else { return Ok(Vec::new()) };
        let mut sums = vec![(0, 0, 0); starts.len()];
        // Where days begin at full hours everywhere, hours are enough; their histograms are not looked at.
        let is_full = starts.iter().all(|(_, at)| at.rem_euclid(HOURS_S * 1_000_000) == 0);
        let wanted = if is_full { Grain::Hours } else { Grain::Minutes };
        self.walk(*first..now.as_microsecond().max(first + 1), wanted, |part| {
            let day = starts.partition_point(|(_, at)| *at <= part.start).saturating_sub(1);
            sums[day].0 += part.tally.known_ms;
            sums[day].1 += part.tally.down_ms;
            sums[day].2 += part.tally.watched_ms;
        })?;
        let since = known_since.map_or(i64::MAX, |it| it.as_microsecond());
        let days = starts.iter().zip(sums).enumerate().map(|(at, ((date, start), (known, down, watched)))| {
            let end = starts.get(at + 1).map_or(now.as_microsecond(), |(_, next)| *next);
            Day {
                date: *date,
                up: (known > 0).then(|| 1.0 - down as f64 / known as f64),
                down: Duration::from_millis(down.unsigned_abs()),
                known: Duration::from_millis(known.unsigned_abs()),
                unwatched: unwatched((end - since.clamp(*start, end.max(*start))) / 1000, watched),
            }
        });
        Ok(days.skip_while(|it| it.up.is_none()).collect())
    }

    fn known_since(&self) -> rusqlite::Result<Option<Timestamp>> {
        let mut known = self.unwritten.first().map(|it| it.at.as_microsecond());
        if let Some((connection, probe)) = self.connection {
            for (sql, unit, length_s) in [
                ("SELECT min(at) FROM outcome WHERE probe = ?", 1, 0),
                ("SELECT min(start) FROM minutes WHERE probe = ?", 1_000_000, MINUTES_S),
                ("SELECT min(start) FROM hours WHERE probe = ?", 1_000_000, HOURS_S),
            ] {
                let first: Option<i64> = connection.prepare_cached(sql)?.query_row([probe], |row| row.get(0))?;
                let Some(first) = first.map(|it| it * unit) else { continue };
                // A sum begins before what it is made of, which says it better while it is kept.
                if known.is_none_or(|known| first + length_s * 1_000_000 <= known) {
                    known = Some(first);
                }
            }
        }
        Ok(known.map(samples::timestamp))
    }
}

/// Until when the runs of a row speak, in microseconds: those of an hour in which few ran may not speak for all of it, but
/// from when until when is not known.
fn spoken_until(table: Table, start: i64, tally: &Tally) -> i64 {
    let length_s = if tally.watched_ms > 0 { table.length_s() } else { 0 };
    (start + length_s) * 1_000_000
}
