//! How long the runs of probes took, counted into fixed buckets: what a histogram of a Prometheus is made of.
//!
//! Counts grow as long as the process lives and are kept nowhere: whoever reads them notices a new start, and sums
//! over hosts and time need the same bounds everywhere. A run whose times are not believed, because this host was too
//! busy, is not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::ids::ProbeId;
use crate::domain::probe::ProbeFact;
use crate::domain::probe::outcome::{Outcome, Phase};

/// Upper bounds of the buckets, the last of which has none: from a name in a cache to a run that times out.
pub const BOUNDS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// Probes that are counted: each has up to eight histograms of fifteen lines, so that a page stays below 2 MiB.
pub const PROBES_MAX: usize = 200;

/// A histogram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    // The last one is for what is longer than all bounds.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Tally {
    fn add(&mut self, took: Duration) {
        let at = BOUNDS.iter().position(|it| took <= *it).unwrap_or(BOUNDS.len());
        self.counts[at] += 1;
        self.sum += took;
    }

    /// For each bound, `None` is the last, how many took no longer.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The histograms of a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeTally {
    /// Of whole runs.
    pub total: Tally,
    /// Of the phases that its runs have had.
    pub phases: BTreeMap<Phase, Tally>,
}

/// The histograms of all probes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tallies {
    probes: BTreeMap<ProbeId, ProbeTally>,
}

impl Tallies {
    /// Counts what a fact says of a run.
    pub fn apply(&mut self, fact: &ProbeFact) {
        match fact {
            ProbeFact::Outcome { probe, outcome, .. } => self.count(probe, outcome),
            ProbeFact::Removed { probe } => {
                self.probes.remove(probe);
            }
            _ => {}
        }
    }

    fn count(&mut self, probe: &ProbeId, outcome: &Outcome) {
        let is_new = !self.probes.contains_key(probe);
        if outcome.latency_suspect || (is_new && self.probes.len() >= PROBES_MAX) {
            return;
        }
        let tally = self.probes.entry(probe.clone()).or_default();
        tally.total.add(outcome.total());
        for (phase, took) in outcome.phases.happened() {
            tally.phases.entry(phase).or_default().add(took);
        }
    }

    /// Every probe that is counted.
    pub fn iter(&self) -> impl Iterator<Item = (&ProbeId, &ProbeTally)> {
        self.probes.iter()
    }

    /// How many probes are counted.
    pub fn len(&self) -> usize {
        self.probes.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::probe::outcome::{Evidence, Phases, ProbeResult};

    fn ran(name: &str, wait_ms: u64, suspect: bool) -> ProbeFact {
        let outcome = Outcome {
            at: Timestamp::UNIX_EPOCH,
            result: ProbeResult::Ok,
            phases: Phases { wait: Some(Duration::from_millis(wait_ms)), ..Phases::default() },
            trouble: None,
            evidence: Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: suspect,
        };
        ProbeFact::Outcome { probe: ProbeId::new(&HostId::new("h"), name), outcome: Box::new(outcome), next: None }
    }

    #[test]
    fn a_run_counts_in_its_bucket_and_in_all_above_and_one_that_is_not_believed_in_none() {
        let mut tallies = Tallies::default();
        for (wait_ms, suspect) in [(1, false), (2, false), (900, false), (60_000, false), (3, true)] {
            tallies.apply(&ran("api", wait_ms, suspect));
        }
        let (_, tally) = tallies.iter().next().expect("one");
        let counts: Vec<u64> = tally.total.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4]);
        assert_eq!((tally.total.count(), tally.total.sum()), (4, Duration::from_millis(60_903)));
        assert_eq!(tally.phases.keys().collect::<Vec<_>>(), [&Phase::Wait]);
    }

    #[test]
    fn only_so_many_probes_are_counted_and_one_that_is_removed_makes_room() {
        let mut tallies = Tallies::default();
        for number in 0..=PROBES_MAX {
            tallies.apply(&ran(&format!("p{number}"), 1, false));
        }
        assert_eq!(tallies.len(), PROBES_MAX);
        tallies.apply(&ProbeFact::Removed { probe: ProbeId::new(&HostId::new("h"), "p0") });
        tallies.apply(&ran("late", 1, false));
        assert!(tallies.iter().any(|(id, _)| id.name() == "late"));
    }
}
