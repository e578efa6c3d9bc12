//! What is not on disk yet, and everything that must be there: one transaction's worth, bounded.
//!
//! While the disk takes what is written this is empty most of the time. While it does not, this is the
//! memory from which the program goes on, and what is written first when there is room again.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::alert::delivery::{Delivery, DeliveryState};
use crate::domain::ids::ProbeId;
use crate::domain::probe::{ProbeKept, Sample};
use crate::store::outbox::{Kept, Mark, is_open};

/// Outcomes held in memory while nothing can be written: 25 minutes of a thousand probes at 30 s.
pub const SAMPLES_MAX: usize = 50_000;
/// Of those, as many newest keep their evidence.
const EVIDENCE_MAX: usize = 2_000;
/// Deliveries and marks held in memory; the outbox holds no more that are open.
const DELIVERIES_MAX: usize = 10_000;

/// Called once it is known whether a change is on disk: `true` when it is.
pub type Done = Box<dyn FnOnce(bool) + Send>;

/// What waits to be written.
#[derive(Default)]
pub struct Pending {
    /// Rows of the alert policy; `None` removes one.
    pub rows: BTreeMap<String, Option<String>>,
    /// Deliveries that are new.
    pub deliveries: VecDeque<Delivery>,
    /// Deliveries that are stale.
    pub superseded: VecDeque<(String, Timestamp)>,
    /// What became of deliveries, in order.
    pub marks: VecDeque<Mark>,
    /// Outcomes, oldest first.
    pub samples: VecDeque<Sample>,
    /// What is kept of probes over a restart, where no outcome carries it any more.
    pub kept: BTreeMap<ProbeId, (Timestamp, ProbeKept)>,
    /// Who waits to hear of it.
    pub done: Vec<Done>,
}

impl Pending {
    /// True when there is nothing to write and nobody to tell.
    pub fn is_empty(&self) -> bool {
        !self.is_urgent() && self.samples.is_empty() && self.kept.is_empty()
    }

    /// True when it must be written at once and wait for the disk.
    pub fn is_urgent(&self) -> bool {
        !self.rows.is_empty()
            || !self.deliveries.is_empty()
            || !self.superseded.is_empty()
            || !self.marks.is_empty()
            || !self.done.is_empty()
    }

    /// Adds an outcome; past the bound the oldest goes, but what is kept of its probe stays.
    pub fn push_sample(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        if let Some(old) = self.samples.len().checked_sub(EVIDENCE_MAX + 1).and_then(|it| self.samples.get_mut(it)) {
            Arc::make_mut(&mut old.outcome).lighten();
        }
        while self.samples.len() > SAMPLES_MAX {
            let Some(old) = self.samples.pop_front() else { break };
            self.kept.insert(old.probe, (old.outcome.at, old.kept));
        }
    }

    /// Puts what could not be written back before what came meanwhile.
    pub fn put_back(&mut self, mut older: Self) {
        older.rows.append(&mut self.rows);
        older.deliveries.append(&mut self.deliveries);
        older.superseded.append(&mut self.superseded);
        older.marks.append(&mut self.marks);
        older.kept.append(&mut self.kept);
        older.done.append(&mut self.done);
        for sample in self.samples.drain(..) {
            older.push_sample(sample);
        }
        *self = older;
        self.bound();
    }

    fn bound(&mut self) {
        // What is done needs no place in the outbox any more. Its attempts are history, and that is dropped first.
        if self.deliveries.len() > DELIVERIES_MAX {
            let ended: HashSet<&str> =
                self.marks.iter().filter(|it| !is_open(&it.state)).map(|it| it.id.as_str()).collect();
            self.deliveries.retain(|it| !ended.contains(it.id.as_str()));
            while self.deliveries.len() > DELIVERIES_MAX {
                self.deliveries.pop_front();
            }
        }
        while self.superseded.len() > DELIVERIES_MAX {
            self.superseded.pop_front();
        }
        if self.marks.len() > DELIVERIES_MAX {
            // The last word on each delivery is what counts.
            let mut last: BTreeMap<&str, usize> = BTreeMap::new();
            for (at, mark) in self.marks.iter().enumerate() {
                last.insert(&mark.id, at);
            }
            let mut keep: Vec<usize> = last.into_values().collect();
            keep.sort_unstable();
            let newest = keep.len().saturating_sub(DELIVERIES_MAX);
            self.marks = keep[newest..].iter().map(|at| self.marks[*at].clone()).collect();
        }
    }
}

/// What of the alerts is on disk or should be: written again when the file is lost while the program runs.
#[derive(Default)]
pub struct Mirror {
    rows: BTreeMap<String, String>,
    open: BTreeMap<String, (u64, Kept)>,
    count: u64,
}

impl Mirror {
    /// Begins with what a file holds.
    pub fn new(rows: Vec<(String, String)>, open: Vec<Kept>) -> Self {
        let mut mirror = Self { rows: rows.into_iter().collect(), ..Self::default() };
        for kept in open {
            mirror.count += 1;
            let id = kept.delivery.id.clone();
            mirror.open.insert(id, (mirror.count, kept));
        }
        mirror
    }

    /// Follows what is written.
    pub fn follow(&mut self, written: &Pending) {
        for (key, value) in &written.rows {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
        for delivery in &written.deliveries {
            self.count += 1;
            let count = self.count;
            let new = || {
                let (delivery, changed) = (delivery.clone(), delivery.at);
                (count, Kept { delivery, state: DeliveryState::Queued, changed, reached: Vec::new() })
            };
            self.open.entry(delivery.id.clone()).or_insert_with(new);
        }
        for (id, _) in &written.superseded {
            if self.open.get(id).is_some_and(|it| !matches!(it.1.state, DeliveryState::Sending { .. })) {
                self.open.remove(id);
            }
        }
        for mark in &written.marks {
            if !is_open(&mark.state) {
                self.open.remove(&mark.id);
            } else if let Some((_, open)) = self.open.get_mut(&mark.id) {
                open.state.clone_from(&mark.state);
                open.reached.clone_from(&mark.reached);
                open.changed = mark.at;
            }
        }
    }

    /// Everything, to be written into a new file before `pending`.
    pub fn all(&self) -> Pending {
        let mut open: Vec<_> = self.open.values().collect();
        open.sort_by_key(|it| it.0);
        Pending {
            rows: self.rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect(),
            deliveries: open.iter().map(|it| it.1.delivery.clone()).collect(),
            marks: open
                .iter()
                .map(|(_, it)| Mark {
                    id: it.delivery.id.clone(),
                    state: it.state.clone(),
                    at: it.changed,
                    reached: it.reached.clone(),
                    attempt: None,
                })
                .collect(),
            ..Pending::default()
        }
    }
}
