//! What one key asked of many probes, until all have answered: one line then says so, instead of one for each.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Effect, Notice};
use crate::app::model::Model;
use crate::domain::alert::quiet::{ACKNOWLEDGED, UNACKNOWLEDGED};
use crate::domain::ids::ProbeId;
use crate::domain::request::Request;

/// Answers that take longer do not come: an agent answers a hundred in a moment.
const PATIENCE: SignedDuration = SignedDuration::from_secs(3);

/// Acknowledgements that one key asked for, or their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Several {
    /// "12 in `pay`".
    what: String,
    /// How an answer begins.
    verb: &'static str,
    total: usize,
    pending: BTreeSet<ProbeId>,
    /// Until when they hold, as the answers say it.
    until_when: String,
    /// It is waited no longer.
    until: Timestamp,
}

/// What several probes of a group are called, or several that are in none: "12 in `pay`", `12 probes`.
pub fn what(count: usize, group: Option<&str>) -> String {
    match group.filter(|it| !it.is_empty()) {
        Some(group) => format!("{count} in `{group}`"),
        None => format!("{count} probes"),
    }
}

impl Effect {
    /// Asks the same of several things; of one it is a request like any other.
    pub fn each(mut requests: Vec<Request>, what: String) -> Vec<Self> {
        match requests.len() {
            0 => Vec::new(),
            1 => requests.pop().map(Self::Request).into_iter().collect(),
            _ => vec![Self::Each { requests, what }],
        }
    }
}

impl Model {
    /// Remembers what is asked of several probes, when each of them answers.
    pub(super) fn ask_several(&mut self, requests: &[Request], what: &str) {
        let asked = requests.iter().filter_map(|it| match it {
            Request::AcknowledgeProbe(probe) | Request::Acknowledge { probe, .. } => {
                Some((ACKNOWLEDGED, probe.clone()))
            }
            Request::Unacknowledge(probe) => Some((UNACKNOWLEDGED, probe.clone())),
            _ => None,
        });
        let (verbs, pending): (Vec<&str>, BTreeSet<ProbeId>) = asked.unzip();
        let Some(verb) = verbs.first().copied() else { return };
        self.several = Some(Several {
            what: what.to_string(),
            verb,
            total: pending.len(),
            pending,
            until_when: String::new(),
            until: self.clock.checked_add(PATIENCE).unwrap_or(Timestamp::MAX),
        });
    }

    /// Takes an answer that is one of several. `None`: it is not; else what is to be said once all are there.
    pub(super) fn answer_of_several(&mut self, text: &str) -> Option<Option<String>> {
        let several = self.several.as_mut()?;
        // Of several hosts their names stand before it.
        let (_, said) = text.split_once(&format!("{} `", several.verb))?;
        let (name, until_when) = said.split_once('`')?;
        let probe = several.pending.iter().find(|it| it.name() == name)?.clone();
        several.pending.remove(&probe);
        // "until it is up" is said of one.
        several.until_when = until_when.replacen(" it ", " each ", 1);
        if !several.pending.is_empty() {
            return Some(None);
        }
        let said = format!("{} {}{}", several.verb, several.what, several.until_when);
        self.several = None;
        Some(Some(said))
    }

    /// When it is waited no longer for the rest.
    pub(super) fn several_due(&self) -> Option<Timestamp> {
        self.several.as_ref().map(|it| it.until)
    }

    /// Says how many there are when the rest does not answer.
    pub(super) fn give_up_several(&mut self) -> Option<Effect> {
        let several = self.several.take_if(|it| it.until <= self.clock)?;
        let verb = several.verb;
        let is_missing = |it: &&ProbeId| self.board.seen_by(it).is_some() == (verb == UNACKNOWLEDGED);
        let missing = several.pending.iter().filter(is_missing).count();
        Some(match missing {
            0 => Notice::info(format!("{verb} {}{}", several.what, several.until_when)),
            missing => Notice::warn(format!(
                "{verb} {} of {}: nothing was heard of the others",
                several.total - missing,
                several.what
            )),
        })
    }
}
