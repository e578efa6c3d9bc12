//! Decides which copies of a job a destination keeps.
//!
//! Pure, one job and one destination at a time. Three promises stand above `keep`: the newest verified copy
//! is never deleted; nothing is deleted unless the newest run is verified; nothing is deleted while the
//! clock is behind the newest copy. Only verified copies fill the places of `keep`, so that damaged ones
//! cannot push good ones out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::ids::RunId;

/// How many copies stay: the newest, and the newest of each of the last days, weeks and months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keep {
    /// Newest copies.
    pub last: u32,
    /// One for each of so many days that have a copy.
    pub daily: u32,
    /// One for each of so many ISO weeks.
    pub weekly: u32,
    /// One for each of so many months.
    pub monthly: u32,
}

impl Keep {
    /// In words: `last 7, weekly 4`.
    pub fn text(&self) -> String {
        let parts = [("last", self.last), ("daily", self.daily), ("weekly", self.weekly), ("monthly", self.monthly)];
        let parts = parts.iter().filter(|(_, count)| *count > 0);
        parts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// One copy at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCopy {
    /// The run that made it.
    pub run: RunId,
    /// When the run started, from the manifest (never a file's mtime: `cp` and `touch` change that).
    pub started: Timestamp,
    /// It was read back and found whole, and its source did not change under it.
    pub verified: bool,
}

/// Why nothing may be deleted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// There is no copy at all.
    Nothing,
    /// The newest copy is not verified.
    NewestUnverified,
    /// The clock is behind the newest copy.
    ClockBehind,
}

impl Hold {
    /// In words, for the row and the notice.
    pub fn text(self) -> &'static str {
        match self {
            Hold::Nothing => "nothing is deleted: there is no copy",
            Hold::NewestUnverified => "nothing is deleted: the newest copy is not verified",
            Hold::ClockBehind => "nothing is deleted: the clock is behind the newest copy",
        }
    }
}

/// Returns the runs whose copies may be deleted, oldest first, or why none may be.
///
/// # Errors
/// See [`Hold`].
pub fn plan(keep: &Keep, zone: &TimeZone, copies: &[KeptCopy], now: Timestamp) -> Result<Vec<RunId>, Hold> {
    let mut copies: Vec<&KeptCopy> = copies.iter().collect();
    copies.sort_by(|left, right| (right.started, &right.run).cmp(&(left.started, &left.run)));
    let newest = copies.first().ok_or(Hold::Nothing)?;
    if now < newest.started {
        return Err(Hold::ClockBehind);
    }
    if !newest.verified {
        return Err(Hold::NewestUnverified);
    }
    let verified: Vec<&KeptCopy> = copies.iter().copied().filter(|it| it.verified).collect();
    let mut kept: BTreeSet<&RunId> = BTreeSet::from([&newest.run]);
    kept.extend(verified.iter().take(keep.last as usize).map(|it| &it.run));
    let date = |it: &KeptCopy| zone.to_datetime(it.started).date();
    bucket(&verified, keep.daily, &mut kept, |it| (date(it).year(), i32::from(date(it).day_of_year())));
    bucket(&verified, keep.weekly, &mut kept, |it| {
        let week = date(it).iso_week_date();
        (week.year(), i32::from(week.week()))
    });
    bucket(&verified, keep.monthly, &mut kept, |it| (date(it).year(), i32::from(date(it).month())));
    // A damaged or unverified copy fills no place, but it is evidence: it goes only when it is older than
    // every copy that stays.
    let oldest_kept = verified.iter().filter(|it| kept.contains(&it.run)).map(|it| it.started).min();
    let stays = |it: &KeptCopy| {
        if it.verified { kept.contains(&it.run) } else { oldest_kept.is_none_or(|oldest| it.started >= oldest) }
    };
    Ok(copies.iter().rev().filter(|it| !stays(it)).map(|it| it.run.clone()).collect())
}

/// Keeps the newest copy of each of the newest `count` buckets.
fn bucket<'a, K: Ord>(
    newest_first: &[&'a KeptCopy],
    count: u32,
    kept: &mut BTreeSet<&'a RunId>,
    key: impl Fn(&KeptCopy) -> K,
) {
    let mut seen = BTreeSet::new();
    for copy in newest_first {
        if seen.len() >= count as usize {
            break;
        }
        if seen.insert(key(copy)) {
            kept.insert(&copy.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::HostId;

    fn copy(hours: i64, verified: bool) -> KeptCopy {
        let started = Timestamp::from_second(1_767_225_600 + hours * 3600).unwrap();
        KeptCopy { run: RunId::new(&HostId::new("h"), &format!("db@{hours:06}")), started, verified }
    }

    fn names(runs: &[RunId]) -> Vec<&str> {
        runs.iter().map(RunId::name).collect()
    }

    #[test]
    fn damaged_copies_do_not_push_good_ones_out() {
        let keep = Keep { last: 2, ..Keep::default() };
        let copies = [copy(1, true), copy(2, true), copy(3, false), copy(4, false), copy(5, true)];
        let now = copy(6, true).started;
        assert_eq!(names(&plan(&keep, &TimeZone::UTC, &copies, now).unwrap()), ["db@000001"]);
    }

    #[test]
    fn days_weeks_and_months_each_keep_their_newest() {
        // 2026-01-01 is a Thursday; a copy every 12 hours for 40 days.
        let copies: Vec<KeptCopy> = (0..80).map(|it| copy(it * 12, true)).collect();
        let now = copies[79].started;
        let keep = Keep { last: 1, daily: 3, weekly: 3, monthly: 2 };
        let gone = plan(&keep, &TimeZone::UTC, &copies, now).unwrap();
        let left: Vec<String> =
            copies.iter().filter(|it| !gone.contains(&it.run)).map(|it| it.started.to_string()).collect();
        let expected = [
            "2026-01-31T12:00:00Z",
            "2026-02-01T12:00:00Z",
            "2026-02-07T12:00:00Z",
            "2026-02-08T12:00:00Z",
            "2026-02-09T12:00:00Z",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_clock_that_went_back_deletes_nothing() {
        let copies = [copy(1, true), copy(2, true), copy(30, true)];
        let keep = Keep { last: 1, ..Keep::default() };
        assert_eq!(plan(&keep, &TimeZone::UTC, &copies, copies[1].started), Err(Hold::ClockBehind));
    }

    proptest! {
        #[test]
        fn whatever_happens_the_newest_verified_copy_stays(
            history in prop::collection::vec((0i64..5_000, any::<bool>()), 0..60),
            (last, daily, weekly, monthly) in (0u32..4, 0u32..4, 0u32..4, 0u32..4),
            now_hours in 0i64..6_000,
        ) {
            let copies: Vec<KeptCopy> = history.into_iter().collect::<std::collections::BTreeMap<_, _>>()
                .into_iter().map(|(hours, verified)| copy(hours, verified)).collect();
            let now = copy(now_hours, true).started;
            let keep = Keep { last, daily, weekly, monthly };
            let gone = plan(&keep, &TimeZone::UTC, &copies, now);
            let newest = copies.iter().max_by_key(|it| it.started);
            match gone {
                Err(Hold::Nothing) => prop_assert!(copies.is_empty()),
                Err(Hold::ClockBehind) => prop_assert!(newest.is_some_and(|it| it.started > now)),
                Err(Hold::NewestUnverified) => prop_assert!(newest.is_some_and(|it| !it.verified)),
                Ok(gone) => {
                    let newest_verified = copies.iter().filter(|it| it.verified).max_by_key(|it| it.started).unwrap();
                    prop_assert!(!gone.contains(&newest_verified.run));
                    prop_assert_eq!(newest, Some(newest_verified));
                    let left: Vec<KeptCopy> = copies.iter().filter(|it| !gone.contains(&it.run)).cloned().collect();
                    prop_assert!(left.iter().filter(|it| it.verified).count() >= (last as usize).min(copies.iter().filter(|it| it.verified).count()));
                    // Planning again after the deletion deletes nothing more.
                    prop_assert_eq!(plan(&keep, &TimeZone::UTC, &left, now), Ok(Vec::new()));
                }
            }
        }
    }
}
