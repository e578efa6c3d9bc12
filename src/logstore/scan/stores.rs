//! What the stores among the sources add to a count: they count themselves.

use std::sync::Mutex;

use crate::logstore::scan::Scan;
use crate::logstore::scan::tally::{Tally, buckets};
use crate::logstore::segment::lock;
use crate::logstore::source::Snapshot;
use crate::logstore::summary::Buckets;

/// What the stores among the sources say, which count themselves.
#[derive(Debug, Default)]
pub(super) struct Stores {
    pub(super) matched: Vec<u64>,
    pub(super) buckets: Option<Buckets>,
    pub(super) is_complete: bool,
    /// Their epochs: a store has something new when its is another.
    pub(super) epochs: Vec<u64>,
}

pub(super) fn epochs(snapshots: &[Snapshot]) -> Vec<u64> {
    snapshots.iter().filter(|it| it.store.is_some()).map(|it| it.epoch).collect()
}

/// Asks the stores for what passes, which they count themselves. `None` when it was cancelled.
pub(super) fn count_stores(
    scan: Scan<'_>,
    snapshots: &[Snapshot],
    tally: &Mutex<Tally>,
    progress: &(dyn Fn(&Mutex<Tally>) -> bool + Sync),
) -> Option<Stores> {
    let mut stores = Stores {
        matched: vec![0; scan.goals.len()],
        buckets: scan.histogram.map(|it| buckets(scan, snapshots, it)),
        is_complete: true,
        epochs: epochs(snapshots),
    };
    for snapshot in snapshots {
        let Some(look) = &snapshot.store else { continue };
        for (index, goal) in scan.goals.iter().enumerate() {
            if !goal.matcher.takes_source(&snapshot.source.name) {
                continue;
            }
            let counted = look.reader.count(&goal.matcher, &look.stop);
            stores.is_complete &= counted.as_ref().is_ok_and(|it| it.is_complete);
            let matched = counted.map_or(0, |it| it.matched);
            stores.matched[index] += matched;
            lock(tally).goals[index].matched += matched;
            if let Some(buckets) = stores.buckets.as_mut().filter(|_| index + 1 == scan.goals.len()) {
                let added = look.reader.add_to(buckets, &goal.matcher, &look.stop);
                stores.is_complete &= added.unwrap_or(false);
            }
            if !progress(tally) {
                return None;
            }
        }
    }
    Some(stores)
}
