//! Answers what a probe was like: points of a graph, percentiles, availability by day.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rusqlite::Connection;

use crate::domain::probe::history::{Day, History, HistoryRequest, POINTS_MAX};
use crate::store::rollup::Marks;
use crate::store::samples::{self, Raw};
use crate::store::tally::{HOURS_S, MINUTES_S, Table, Tally, floor, raws, slots};

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
    let count = request.points.clamp(1, POINTS_MAX);
    let (from, until) = (request.from.as_microsecond(), request.until.as_microsecond());
    let until = until.max(from + 1);
    let past = match connection {
        Some(connection) => Past::open(connection, request, unwritten)?,
        None => Past { connection: None, marks: Marks::default(), unwritten },
    };
    let mut points = vec![Tally::default(); count];
    let mut whole = Tally::default();
    let wanted = match (until - from) / count as i64 / 1_000_000 {
        ..MINUTES_S => Grain::Raw,
        MINUTES_S..HOURS_S => Grain::Minutes,
        _ => Grain::Hours,
    };
    let mut grain = Grain::Raw;
    past.walk(from..until, wanted, |part| {
        let Part { start, tally, grain: found, .. } = part;
        // A sum that begins a little before the range belongs to its first point.
        let at = i128::from(start.max(from) - from) * count as i128 / i128::from(until - from);
        points[usize::try_from(at).unwrap_or(0).min(count - 1)].merge(tally);
        whole.merge(tally);
        grain = grain.max(found);
    })?;
    Ok(History {
        generation: request.generation,
        probe: request.probe.clone(),
        from: request.from,
        until: request.until,
        points: points.iter().map(Tally::point).collect(),
        whole: whole.point(),
        days: past.days(now, &request.zone)?,
        known_since: past.known_since()?,
        grain: grain.word().to_string(),
    })
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
                each(Part { start: start * 1_000_000, tally: &tally, grain: Grain::Hours });
            })?;
            let minutes = floor(from_s, MINUTES_S).max(hours_end)..minutes_end.min(until_s);
            Table::Minutes.walk(connection, probe, minutes, |start, tally| {
                each(Part { start: start * 1_000_000, tally: &tally, grain: Grain::Minutes });
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
        for raw in &found {
            if (raws_from..range.end).contains(&raw.at.as_microsecond()) {
                let mut tally = Tally::default();
                tally.add(raw);
                each(Part { start: raw.at.as_microsecond(), tally: &tally, grain: Grain::Raw });
            }
        }
        for (start, tally) in slots(&found, raws_from..range.end, MINUTES_S) {
            let spoken = Tally { known_ms: tally.known_ms, down_ms: tally.down_ms, ..Tally::default() };
            each(Part { start: start * 1_000_000, tally: &spoken, grain: Grain::Raw });
        }
        Ok(())
    }

    /// Availability by day, from the first day of which something is known.
    fn days(&self, now: Timestamp, zone: &str) -> rusqlite::Result<Vec<Day>> {
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
        let mut sums = vec![(0, 0); starts.len()];
        // Where days begin at full hours everywhere, hours are enough; their histograms are not looked at.
        let is_full = starts.iter().all(|(_, at)| at.rem_euclid(HOURS_S * 1_000_000) == 0);
        let wanted = if is_full { Grain::Hours } else { Grain::Minutes };
        self.walk(*first..now.as_microsecond().max(first + 1), wanted, |part| {
            let day = starts.partition_point(|(_, at)| *at <= part.start).saturating_sub(1);
            sums[day].0 += part.tally.known_ms;
            sums[day].1 += part.tally.down_ms;
        })?;
        let days = starts.iter().zip(sums).map(|((date, _), (known, down))| Day {
            date: *date,
            up: (known > 0).then(|| 1.0 - down as f64 / known as f64),
            down: Duration::from_millis(down.unsigned_abs()),
        });
        Ok(days.skip_while(|it| it.up.is_none()).collect())
    }

    fn known_since(&self) -> rusqlite::Result<Option<Timestamp>> {
        let mut known = self.unwritten.first().map(|it| it.at.as_microsecond());
        if let Some((connection, probe)) = self.connection {
            for (sql, unit) in [
                ("SELECT min(at) FROM outcome WHERE probe = ?", 1),
                ("SELECT min(start) FROM minutes WHERE probe = ?", 1_000_000),
                ("SELECT min(start) FROM hours WHERE probe = ?", 1_000_000),
            ] {
                let first: Option<i64> = connection.prepare_cached(sql)?.query_row([probe], |row| row.get(0))?;
                known = known.into_iter().chain(first.map(|it| it * unit)).min();
            }
        }
        Ok(known.map(samples::timestamp))
    }
}
