//! A promise about a share of the time: how much of its error budget is left and how fast it is spent.
//!
//! Each result stands for the time until the next, so that looking more often while something fails does
//! not make it worse than it is. Burn rates are those of the Site Reliability Workbook, chapter 5: an alarm
//! needs a long window, which says that it matters, and a short one, which says that it goes on. Checks are
//! few compared with requests, so a single failed one would ring at 99.9 %: an alarm also needs several.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::format;
use crate::domain::probe::Slo;

/// Bad results that the long window must hold: one or two are what k-of-n is for.
pub const BAD_MIN: f64 = 3.0;
/// Share of a window about which something must be known.
const COVERAGE_MIN: f64 = 0.5;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Younger than this is known by the minute: the second longest window and some.
const BY_MINUTE_MS: i64 = 7 * HOUR_MS;
/// Younger than this is known by the hour: the longest window and some.
const BY_HOUR_MS: i64 = 4 * DAY_MS;
/// Spans kept: 420 minutes, 96 hours and 92 days of the worst service; one that is fine needs one.
const SPANS_MAX: usize = 640;
/// Spans between two looks at what has become old.
const TIDY_EVERY: usize = 64;

/// Long window, short window, the share of the budget that is gone when the alarm rings, and how loud it is.
const WINDOWS: [(i64, i64, f64, Alarm); 3] = [
    (HOUR_MS, 5 * MINUTE_MS, 0.02, Alarm::Page),
    (6 * HOUR_MS, 30 * MINUTE_MS, 0.05, Alarm::Page),
    (72 * HOUR_MS, 6 * HOUR_MS, 0.10, Alarm::Ticket),
];

/// How loud an alarm is, in the words of the Workbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Somebody must look now: the budget is gone in days.
    Page,
    /// Somebody should look these days: it will not last.
    Ticket,
}

/// What came of a promise lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SloLog {
    // Oldest first, without overlaps; at most `SPANS_MAX`.
    #[serde(default)]
    spans: VecDeque<Span>,
    // The last result and what it may stand for.
    #[serde(default)]
    open: Option<Open>,
    #[serde(default)]
    burning: Option<Timestamp>,
    // The same of the slow alarm.
    #[serde(default)]
    smouldering: Option<Timestamp>,
}

/// A stretch of time, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Span {
    from: i64,
    until: i64,
    // Time about which something is known, and the part of it that was bad.
    known: i64,
    bad: i64,
    // Bad results.
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Open {
    at: i64,
    // Until the next result is due.
    due: i64,
    // When none comes, nothing is known from then on.
    until: i64,
    bad: bool,
}

/// What is known of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    known: f64,
    bad: f64,
    count: f64,
}

/// A promise and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SloReport {
    /// The promise.
    pub slo: Slo,
    /// Bad time that it allows.
    pub budget: Duration,
    /// Bad time that there was.
    pub bad: Duration,
    /// Time about which something is known.
    pub known: Duration,
    /// Share of the budget that is left; below 0 when it is overspent.
    pub left: f64,
    /// How fast it is spent, the fastest alarm first.
    pub burns: Vec<Burn>,
}

/// How fast the budget is spent, over a long and a short window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    /// The long window.
    pub long: Duration,
    /// The short window.
    pub short: Duration,
    /// Times as fast as is sustainable at which the alarm rings.
    pub factor: f64,
    /// How fast over the long window; `None` when too little is known.
    pub over_long: Option<f64>,
    /// How fast over the short window; `None` when too little is known.
    pub over_short: Option<f64>,
    /// Bad results in the long window.
    pub count: u32,
    /// How loud the alarm is.
    pub alarm: Alarm,
    /// The alarm rings.
    pub fires: bool,
}

impl SloLog {
    /// Folds a result in: `due` is when the next is due, `interval` the usual pace.
    pub fn push(&mut self, at: Timestamp, bad: bool, due: Option<Timestamp>, interval: Duration) {
        let at = at.as_millisecond();
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(DAY_MS).max(1);
        if let Some(open) = self.open.take() {
            let until = at.min(open.until);
            if until > open.at {
                let length = until - open.at;
                let bad = if open.bad { length } else { 0 };
                self.append(Span { from: open.at, until, known: length, bad, count: u32::from(open.bad) });
            }
        }
        // The clock was set back: what was recorded as the time to come is not known any more.
        while self.spans.back().is_some_and(|it| it.from >= at) {
            self.spans.pop_back();
        }
        if let Some(last) = self.spans.back_mut().filter(|it| it.until > at) {
            *last = last.within(last.from, at);
        }
        let due = due.map_or(at + interval_ms, |it| it.as_millisecond()).clamp(at + 1, at + interval_ms);
        self.open = Some(Open { at, due, until: at + interval_ms + interval_ms / 2, bad });
    }

    fn append(&mut self, span: Span) {
        match self.spans.back_mut() {
            Some(last) if last.joins(&span) => last.take_in(&span),
            _ => self.spans.push_back(span),
        }
        if self.spans.len().is_multiple_of(TIDY_EVERY) {
            self.tidy(span.until);
        }
        while self.spans.len() > SPANS_MAX {
            self.spans.pop_front();
        }
    }

    /// Makes what is old coarse: by the hour, then by the day.
    fn tidy(&mut self, now: i64) {
        let mut tidied: VecDeque<Span> = VecDeque::with_capacity(self.spans.len());
        for span in &self.spans {
            let grain = match now - span.until {
                age if age > BY_HOUR_MS => DAY_MS,
                age if age > BY_MINUTE_MS => HOUR_MS,
                _ => MINUTE_MS,
            };
            match tidied.back_mut() {
                Some(last) if last.joins(span) || last.from.div_euclid(grain) == span.from.div_euclid(grain) => {
                    last.take_in(span);
                }
                _ => tidied.push_back(*span),
            }
        }
        self.spans = tidied;
    }

    /// Forgets what is older than the promise reaches.
    pub fn forget_before(&mut self, slo: Slo) {
        let Some(open) = self.open else { return };
        let from = open.at - millis(slo.over);
        while self.spans.front().is_some_and(|it| it.until <= from) {
            self.spans.pop_front();
        }
    }

    fn sum(&self, window_ms: i64) -> Sum {
        let Some(open) = self.open else { return Sum::default() };
        let (from, until) = (open.due - window_ms, open.due);
        let length = until - open.at.max(from);
        let bad = if open.bad { length } else { 0 };
        let last = Span { from: open.at, until, known: until - open.at, bad, count: u32::from(open.bad) };
        let mut sum = Sum { known: length as f64, bad: last.bad as f64, count: f64::from(last.count) };
        for span in self.spans.iter().rev().take_while(|it| it.until > from) {
            let share = span.share_within(from, until);
            sum.known += span.known as f64 * share;
            sum.bad += span.bad as f64 * share;
            sum.count += f64::from(span.count) * share;
        }
        sum
    }

    /// How the promise stands at the last result.
    pub fn report(&self, slo: Slo) -> SloReport {
        let allowed = 1.0 - slo.share;
        let over_ms = millis(slo.over);
        let whole = self.sum(over_ms);
        let budget_ms = over_ms as f64 * allowed;
        let burns = WINDOWS.iter().filter(|(long, ..)| *long < over_ms);
        SloReport {
            slo,
            budget: duration(budget_ms),
            bad: duration(whole.bad),
            known: duration(whole.known),
            left: 1.0 - whole.bad / budget_ms,
            burns: burns.map(|it| self.burn(slo, *it)).collect(),
        }
    }

    fn burn(&self, slo: Slo, (long, short, spent, alarm): (i64, i64, f64, Alarm)) -> Burn {
        let allowed = 1.0 - slo.share;
        // Slower than is sustainable is no alarm, however short the promise is.
        let factor = (spent * millis(slo.over) as f64 / long as f64).max(1.0);
        let rate = |window: i64| {
            let sum = self.sum(window);
            (sum.known >= window as f64 * COVERAGE_MIN).then(|| sum.bad / sum.known / allowed)
        };
        let (over_long, over_short) = (rate(long), rate(short));
        let count = self.sum(long).count.round();
        // A hair's breadth of rounding is not above the factor.
        let above = |it: Option<f64>| it.is_some_and(|it| it > factor * (1.0 + 1e-9));
        Burn {
            long: duration(long as f64),
            short: duration(short as f64),
            factor,
            over_long,
            over_short,
            count: count as u32,
            alarm,
            fires: above(over_long) && above(over_short) && count >= BAD_MIN,
        }
    }

    /// Takes notice of which alarms ring.
    ///
    /// What rings loudly does not begin to ring softly as well: one trouble, one alarm. The other way round the soft
    /// one goes on, because that it is over would not be true.
    pub fn look(&mut self, now: Timestamp, slo: Slo) {
        self.forget_before(slo);
        let report = self.report(slo);
        let rings = |alarm| report.burns.iter().any(|it| it.alarm == alarm && it.fires);
        let (page, ticket) = (rings(Alarm::Page), rings(Alarm::Ticket));
        self.burning = self.burning.or(Some(now)).filter(|_| page);
        self.smouldering = self.smouldering.or((!page).then_some(now)).filter(|_| ticket);
    }

    /// Since when an alarm rings.
    pub fn ringing(&self, alarm: Alarm) -> Option<Timestamp> {
        match alarm {
            Alarm::Page => self.burning,
            Alarm::Ticket => self.smouldering,
        }
    }
}

impl SloReport {
    fn words(&self, burn: &Burn) -> String {
        format!(
            "spends its error budget {:.1} times too fast (over {} and {}), {:.0} % of {} left",
            burn.over_long.unwrap_or_default(),
            format::duration(burn.long),
            format::duration(burn.short),
            self.left * 100.0,
            format::duration(self.budget),
        )
    }

    /// What an alarm that rings says; `None` when it does not.
    pub fn alarm(&self, alarm: Alarm) -> Option<String> {
        self.burns.iter().find(|it| it.alarm == alarm && it.fires).map(|it| self.words(it))
    }
}

impl Span {
    fn is_pure(&self) -> bool {
        self.known == self.until - self.from && (self.bad == 0 || self.bad == self.known)
    }

    /// Nothing is lost by joining: it goes on as it was, or it is the same minute.
    fn joins(&self, next: &Span) -> bool {
        let goes_on = self.until == next.from
            && self.is_pure()
            && next.is_pure()
            && (self.bad == 0) == (next.bad == 0)
            // What is counted in a window is counted by its share of the span.
            && (self.bad == 0 || next.until - self.from <= HOUR_MS);
        goes_on || self.from.div_euclid(MINUTE_MS) == next.from.div_euclid(MINUTE_MS)
    }

    fn take_in(&mut self, next: &Span) {
        self.until = self.until.max(next.until);
        self.known += next.known;
        self.bad += next.bad;
        self.count = self.count.saturating_add(next.count);
    }

    fn share_within(&self, from: i64, until: i64) -> f64 {
        let overlap = self.until.min(until) - self.from.max(from);
        overlap.max(0) as f64 / (self.until - self.from).max(1) as f64
    }

    fn within(&self, from: i64, until: i64) -> Span {
        let share = self.share_within(from, until);
        let part = |it: i64| (it as f64 * share) as i64;
        Span { from, until, known: part(self.known), bad: part(self.bad), count: self.count }
    }
}

fn millis(it: Duration) -> i64 {
    i64::try_from(it.as_millis()).unwrap_or(i64::MAX)
}

fn duration(ms: f64) -> Duration {
    Duration::from_millis(ms.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const DAYS_30: Duration = Duration::from_secs(30 * 86_400);

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn slo(percent: f64) -> Slo {
        Slo { share: percent / 100.0, over: DAYS_30 }
    }

    /// Results every `interval` seconds over `window` seconds, the newest `bad` of them bad.
    fn log(interval: i64, window: i64, bad: i64) -> SloLog {
        let mut log = SloLog::default();
        let count = window / interval;
        for index in 0..count {
            let due = Some(at((index + 1) * interval));
            log.push(at(index * interval), index >= count - bad, due, Duration::from_secs(interval as u64));
        }
        log
    }

    /// The least number of bad results above the factor, over the long and over the short window.
    fn least(percent: f64, interval: i64, row: usize) -> (i64, i64) {
        let (long, short, ..) = WINDOWS[row];
        let find = |window: i64, pick: fn(&Burn) -> Option<f64>| {
            let exceeds = |bad: &i64| {
                let burn = log(interval, window / 1000, *bad).report(slo(percent)).burns[row];
                pick(&burn).expect("known") > burn.factor * (1.0 + 1e-9)
            };
            let mut candidates = 1..=window / 1000 / interval;
            candidates.find(exceeds).expect("all bad is above")
        };
        (find(long, |it| it.over_long), find(short, |it| it.over_short))
    }

    #[test]
    fn the_least_number_of_failed_checks_is_that_of_the_workbook() {
        for (percent, interval, row, wanted) in [
            (99.0, 30, 0, (18, 2)),
            (99.5, 30, 0, (9, 1)),
            (99.5, 30, 1, (22, 2)),
            (99.9, 10, 0, (6, 1)),
            (99.9, 30, 0, (2, 1)),
            (99.9, 30, 1, (5, 1)),
            (99.9, 60, 0, (1, 1)),
            (99.9, 60, 1, (3, 1)),
            (99.9, 60, 2, (5, 1)),
            (99.95, 30, 0, (1, 1)),
            (99.95, 60, 1, (2, 1)),
        ] {
            assert_eq!(least(percent, interval, row), wanted, "{percent} % every {interval} s, row {row}");
        }
    }

    #[test]
    fn one_or_two_failed_checks_ring_nothing_and_three_do() {
        for (bad, rings) in [(1, false), (2, false), (3, true)] {
            let report = log(30, 3600, bad).report(slo(99.9));
            assert_eq!(report.burns[0].count, bad as u32);
            assert_eq!(report.alarm(Alarm::Page).is_some(), rings, "{bad}");
        }
        let words = log(30, 3600, 3).report(slo(99.9)).alarm(Alarm::Page).expect("it rings");
        assert_eq!(words, "spends its error budget 25.0 times too fast (over 1h00m and 5m00s), 97 % of 43m12s left");
    }

    #[test]
    fn looking_more_often_while_it_fails_does_not_make_it_worse() {
        let every = |retry: i64| {
            let mut log = log(30, 3600, 0);
            for index in 0..60 / retry {
                let due = Some(at(3600 + (index + 1) * retry));
                log.push(at(3600 + index * retry), true, due, Duration::from_secs(30));
            }
            log.report(slo(99.0))
        };
        let (seldom, often) = (every(30), every(5));
        assert_eq!(seldom.bad, often.bad);
        assert_eq!(seldom.burns[0].over_long, often.burns[0].over_long);
    }

    #[test]
    fn a_window_of_which_less_than_half_is_known_says_nothing() {
        let burns = log(30, 1500, 10).report(slo(99.9)).burns;
        assert_eq!((burns[0].over_long, burns[0].fires), (None, false));
        assert!(burns[0].over_short.is_some());
        assert!(log(30, 1830, 10).report(slo(99.9)).burns[0].fires);
    }

    #[test]
    fn a_gap_is_neither_good_nor_bad() {
        let mut log = log(30, 1800, 60);
        log.push(at(5400), false, Some(at(5430)), Duration::from_secs(30));
        let report = log.report(slo(99.0));
        // Half an hour bad, what its last result stands for at most, and the one after the gap.
        assert_eq!(report.bad.as_secs(), 1815);
        assert_eq!(report.known.as_secs(), 1845);
    }

    #[test]
    fn an_alarm_keeps_its_beginning_and_ends_with_the_short_window() {
        let mut log = log(30, 3600, 10);
        log.look(at(3600), slo(99.9));
        assert_eq!(log.ringing(Alarm::Page), Some(at(3600)));
        for index in 0..12 {
            log.push(at(3600 + index * 30), false, Some(at(3630 + index * 30)), Duration::from_secs(30));
            log.look(at(3600 + index * 30), slo(99.9));
            assert_eq!(log.ringing(Alarm::Page), (index < 9).then_some(at(3600)), "{index}");
        }
    }

    /// Six days of a result a minute, of which from a day on every so many is bad; which alarms rang when, in minutes.
    fn rings(every: i64, from: i64, until: i64) -> [Vec<i64>; 2] {
        let (mut log, mut seen) = (SloLog::default(), [Vec::new(), Vec::new()]);
        for minute in 0..6 * 1440 {
            let bad = (from..until).contains(&minute) && minute % every == 0;
            log.push(at(minute * 60), bad, Some(at((minute + 1) * 60)), Duration::from_secs(60));
            log.look(at(minute * 60), slo(99.0));
            for (alarm, seen) in [Alarm::Page, Alarm::Ticket].into_iter().zip(&mut seen) {
                if log.ringing(alarm) == Some(at(minute * 60)) {
                    seen.push(minute);
                }
            }
        }
        seen
    }

    #[test]
    fn what_spends_slowly_is_a_ticket_and_what_spends_fast_a_page_and_no_ticket_beside_it() {
        // 4 % bad where 1 % is promised: never six times too fast, but it does not last.
        let [pages, tickets] = rings(25, 1440, 6 * 1440);
        assert_eq!((pages.len(), tickets.len()), (0, 1), "{pages:?} {tickets:?}");
        // All bad for two hours: the page rings first, the ticket only when the page is over and the budget still goes.
        let [pages, tickets] = rings(1, 2 * 1440, 2 * 1440 + 120);
        assert_eq!(pages.len(), 1, "{pages:?}");
        assert!(tickets.len() == 1 && tickets[0] > 2 * 1440 + 120, "{tickets:?}");
    }

    #[test]
    fn a_year_of_the_worst_service_stays_small_and_adds_up() {
        let mut log = SloLog::default();
        let results = 32 * 86_400 / 60;
        for index in 0..results {
            log.push(at(index * 60), index % 2 == 0, Some(at((index + 1) * 60)), Duration::from_secs(60));
            log.look(at(index * 60), slo(99.0));
        }
        assert!(log.spans.len() <= SPANS_MAX, "{}", log.spans.len());
        let report = log.report(slo(99.0));
        let share = report.bad.as_secs_f64() / report.known.as_secs_f64();
        assert!((share - 0.5).abs() < 0.01, "{share}");
        assert!((report.known.as_secs_f64() / DAYS_30.as_secs_f64() - 1.0).abs() < 0.05, "{:?}", report.known);
        assert!(report.left < -40.0);
    }

    #[test]
    fn a_service_that_is_fine_is_one_span() {
        let log = log(60, 30 * 86_400, 0);
        assert_eq!(log.spans.len(), 1);
        let report = log.report(slo(99.9));
        assert!((report.left - 1.0).abs() < 1e-9);
        assert_eq!(report.budget.as_secs(), 2592);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_overlap() {
        let mut log = log(30, 3600, 120);
        log.push(at(600), false, Some(at(630)), Duration::from_secs(30));
        log.push(at(630), false, Some(at(660)), Duration::from_secs(30));
        let spans: Vec<(i64, i64)> = log.spans.iter().map(|it| (it.from, it.until)).collect();
        assert!(spans.windows(2).all(|it| it[0].1 <= it[1].0), "{spans:?}");
        assert!(log.report(slo(99.0)).known.as_secs() <= 660);
    }
}
