//! Why a page is held back although something is the matter: what it depends on, canaries, flapping.
//!
//! The state of a probe is recorded whatever holds its page back.

// Addresses are read here, nothing is spoken to.
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Hold;
use crate::domain::format;
use crate::domain::ids::{HostId, ProbeId};
use crate::domain::probe::health::Health;
use crate::domain::probe::outcome::ProbeResult;
use crate::domain::probe::{ProbeBoard, ProbeSetup, ProbeState};

/// Kinds that look at this host itself: they need no network. Jobs report here; one that does so from far away, by HTTP,
/// is told apart by `near = false`.
const OF_THIS_HOST: &[&str] = &["host", "logs", "heartbeat"];
/// Programs: near unless one of their words is a place that is far.
const PROGRAM: &str = "command";

/// Intervals after a cut-off for which a canary that still fails is believed to recover from it.
const RECOVERY_INTERVALS: u32 = 2;

/// Why this host is taken to be cut off.
pub const CUT_OFF: &str = "every canary fails";
/// What that means, for whoever reads what is red.
pub const CUT_OFF_WORDS: &str = "cut off: every canary fails, so what is far away cannot be known and is not told";

/// A canary's part in telling that this host is cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryPart {
    /// None: some canary answers, or it is no canary.
    #[default]
    No,
    /// All canaries fail, and this one says nothing of itself.
    Silent,
    /// All canaries are down, and this one says so for all of them.
    Speaks {
        /// Since when all of them fail, or rather the first that went with the last.
        since: Timestamp,
    },
    /// Some canary answers again; this one has had little time to.
    Over {
        /// Since when.
        at: Timestamp,
    },
}

impl ProbeBoard {
    /// Why a page about a probe is held back although something is the matter; `None` when it is not.
    ///
    /// [`Hold::Flapping`] comes last: with it nothing else holds, and it is of no concern to
    /// [`Concern::Flapping`](crate::domain::alert::Concern::Flapping) itself.
    pub fn hold(&self, now: Timestamp, probe: &ProbeId) -> Option<Hold> {
        let state = self.get(probe)?;
        if self.is_cut_off() && !state.is_near() && !matches!(state.part, CanaryPart::Speaks { .. }) {
            return Some(Hold::CutOff);
        }
        if let Some(hold) = self.hold_after(now, probe) {
            return Some(hold);
        }
        state.flapping().map(|_| Hold::Flapping)
    }

    /// Those that tell whether a host is cut off, in the order in which they speak for all of them.
    pub fn canaries(&self) -> impl Iterator<Item = &ProbeId> {
        self.canaries.iter()
    }

    /// True when every canary fails: what is far away cannot be known.
    pub fn is_cut_off(&self) -> bool {
        let part = |it: &ProbeId| self.get(it).map(|it| it.part);
        self.canaries.iter().any(|it| matches!(part(it), Some(CanaryPart::Silent | CanaryPart::Speaks { .. })))
    }

    /// Looks at everything a probe depends on, near and far; what is down counts more than what may be.
    fn hold_after(&self, now: Timestamp, probe: &ProbeId) -> Option<Hold> {
        let mut seen = BTreeSet::from([probe.clone()]);
        let mut to_see = self.parents(probe);
        let (mut down, mut suspect): (Option<ProbeId>, Option<(ProbeId, Timestamp)>) = (None, None);
        while let Some(parent) = to_see.pop() {
            if !seen.insert(parent.clone()) {
                continue;
            }
            let Some(state) = self.get(&parent) else { continue };
            match (state.health(), state.since()) {
                // Of several the one that went down first: the others may follow from it.
                (Health::Down, since) => {
                    let before = down.as_ref().and_then(|it| self.get(it)).and_then(ProbeState::since);
                    if down.is_none() || since < before {
                        down = Some(parent.clone());
                    }
                }
                (Health::Suspect, Some(since)) => {
                    let until = since.checked_add(state.setup.interval).unwrap_or(since);
                    if until > now && suspect.as_ref().is_none_or(|(_, it)| until > *it) {
                        suspect = Some((parent.clone(), until));
                    }
                }
                _ => {}
            }
            to_see.extend(self.parents(&parent));
        }
        down.map(Hold::After).or(suspect.map(|(parent, until)| Hold::AfterSuspect(parent, until)))
    }

    fn parents(&self, probe: &ProbeId) -> Vec<ProbeId> {
        let host = HostId::new(probe.host());
        let after = self.get(probe).map(|it| it.setup.rules.after.as_slice()).unwrap_or_default();
        after.iter().map(|name| ProbeId::new(&host, name)).collect()
    }

    /// Gives every canary its part, after one of them was looked at.
    pub(super) fn look_at_canaries(&mut self, now: Timestamp) {
        let canaries = || self.canaries.iter().filter_map(|it| self.probes.get(it));
        let all_fail = canaries().all(ProbeState::fails);
        let all_down = canaries().all(|it| it.health() == Health::Down);
        let last = canaries().filter_map(ProbeState::since).max();
        // The first of those that went with the last: one that was down long before tells nothing of the network.
        let went_along = |it: &&ProbeState| {
            let ahead = last.zip(it.since()).map(|(last, since)| format::since(last, since));
            ahead.is_some_and(|ahead| ahead <= it.setup.interval)
        };
        let first = canaries().filter(went_along).filter_map(ProbeState::since).min();
        for (index, canary) in self.canaries.iter().enumerate() {
            let Some(state) = self.probes.get_mut(canary) else { continue };
            let is_over = |at: Timestamp| {
                let patience = state.setup.interval * RECOVERY_INTERVALS;
                let still = Duration::try_from(now.duration_since(at)).is_ok_and(|it| it > patience);
                state.health() == Health::Up || still
            };
            state.part = match state.part {
                _ if all_fail && all_down && index == 0 => CanaryPart::Speaks { since: first.unwrap_or(now) },
                _ if all_fail => CanaryPart::Silent,
                CanaryPart::Silent | CanaryPart::Speaks { .. } if state.health() != Health::Up => {
                    CanaryPart::Over { at: now }
                }
                CanaryPart::Over { at } if !is_over(at) => CanaryPart::Over { at },
                _ => CanaryPart::No,
            };
        }
    }
}

impl ProbeState {
    /// True when its last run failed; after a start, when it was down or may have been.
    fn fails(&self) -> bool {
        match self.last() {
            Some(outcome) => outcome.result == ProbeResult::Fail,
            None => matches!(self.health(), Health::Down | Health::Suspect),
        }
    }

    /// True when it is looked at without leaving this host or its network.
    fn is_near(&self) -> bool {
        let address = |it: &crate::domain::probe::outcome::Outcome| it.evidence.address.clone();
        let known = self.last().and_then(address).or_else(|| self.last_good.as_deref().and_then(address));
        is_near(&self.setup, known.as_deref())
    }
}

/// True when a probe is looked at without leaving this host or its network: it counts also while this host
/// is cut off. `address` is what a run spoke to, when it came that far. What the config says of it stands above both.
pub fn is_near(setup: &ProbeSetup, address: Option<&str>) -> bool {
    if let Some(is_near) = setup.rules.near {
        return is_near;
    }
    match setup.kind.as_str() {
        kind if OF_THIS_HOST.contains(&kind) => true,
        // `check_disk -p /` looks here, `check_http -H example.com` does not.
        PROGRAM => !setup.target.split_whitespace().skip(1).any(names_far_place),
        _ => is_near_place(address.unwrap_or(&setup.target)),
    }
}

/// True for a word of a command line that names a host which is not near: an address, a URL, `example.com`.
fn names_far_place(word: &str) -> bool {
    // `--host=example.com`, `-Hexample.com`
    let word = word.rsplit('=').next().unwrap_or_default().trim_matches(['"', '\'', '[', ']']);
    if word.contains("://") {
        return !is_near_place(word);
    }
    let host = if word.matches(':').count() == 1 { word.split(':').next().unwrap_or_default() } else { word };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return !is_near_address(address);
    }
    let host = host.rsplit('@').next().unwrap_or_default();
    let last = host.rsplit('.').next().unwrap_or_default();
    host.contains('.')
        && host.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '.'))
        && last.len() >= 2
        && last.chars().all(|it| it.is_ascii_alphabetic())
        && last != "localhost"
}

/// True for an address or a place written with one that is on this host or in its network.
fn is_near_place(place: &str) -> bool {
    if let Ok(address) = place.parse::<SocketAddr>() {
        return is_near_address(address.ip());
    }
    // `http://10.0.0.5:80/x`, `localhost:5432`, `[::1]:80`, `10.0.0.5`
    let rest = place.split_once("://").map_or(place, |(_, it)| it);
    let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if authority.matches(':').count() == 1 => authority.split(':').next().unwrap_or_default(),
        None => authority,
    };
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_near_address)
}

fn is_near_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local() || it.is_unspecified(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local() || it.is_unspecified(),
    }
}
