//! What happened before an incident was declared: its timeline begins with the first red, not with the declaration.
//!
//! People declare after they have seen the page, acknowledged it or silenced what else would ring. Those rows went to
//! no incident when they were made, because there was none: they are kept here until somebody declares one. What they
//! noted meanwhile stands in the log-book of the day and is copied from there.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::alert::policy::alert::{Alert, Subject};
use crate::domain::alert::policy::{AlertBoard, labels};
use crate::domain::alert::quiet::{self, Matcher};
use crate::domain::fact::Restored;
use crate::domain::ids::ProbeId;
use crate::domain::incident::board::IncidentBoard;
use crate::domain::incident::entry::EntryBody;
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{MachineEntry, MachineKind};
use crate::domain::probe::health::Health;
use crate::domain::probe::{ProbeBoard, ProbeState};

/// Rows that are kept, the newest ones: an hour in which everything rings.
const ROWS_MAX: usize = 256;
/// Notes that an incident takes along, the newest ones: more than a few people write while they find out.
const NOTES_MAX: usize = 64;
/// An incident takes no older note along: a watch of the night.
const NOTES_SINCE: SignedDuration = SignedDuration::from_hours(12);

/// What was told and done about alerts, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Earlier {
    rows: VecDeque<Row>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    entry: MachineEntry,
    about: About,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// These probes.
    Probes(Vec<ProbeId>),
    /// Every probe that all of these fit.
    Matching(Vec<Matcher>),
    /// A notifier, or something else that serves all of them.
    All,
}

impl Earlier {
    /// True when nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keeps a row.
    pub(super) fn keep(&mut self, entry: MachineEntry, about: About) {
        if self.rows.len() == ROWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(Row { entry, about });
    }

    /// Takes from what was kept over a restart the rows that can be told of it: who has seen what, what is silenced, who
    /// was paged.
    pub(super) fn restore(&mut self, restored: &Restored, alerts: &AlertBoard) {
        let mut rows = Vec::new();
        for (probe, kept) in &restored.probes {
            if let Some(ack) = &kept.acked {
                let text = format!("acknowledged by {}", ack.by);
                rows.push((entry(ack.at, probe.as_str(), text, Some(&ack.by)), About::Probes(vec![probe.clone()])));
            }
        }
        for alert in alerts.alerts().filter(|it| it.ended.is_none()) {
            rows.extend(of_alert(alert).into_iter().map(|it| (it, About::Probes(probes_of(alert, alerts)))));
        }
        let of_config = &alerts.rules().silences;
        for silence in alerts.silences().filter(|it| !of_config.contains(it)) {
            let it = entry(silence.from, "silence", silenced(silence), Some(&silence.by));
            rows.push((it, About::Matching(silence.matchers.clone())));
        }
        rows.sort_by_key(|(entry, _)| entry.at);
        for (entry, about) in rows {
            // What comes late was seen to happen in part.
            if !self.rows.iter().any(|it| it.entry.at == entry.at && it.entry.subject == entry.subject) {
                self.keep(entry, about);
            }
        }
    }

    /// What a timeline is told of the probes that are down now: what happened since each of them went down.
    pub(super) fn since_red(&self, probes: &ProbeBoard) -> Vec<&MachineEntry> {
        let red: Vec<(&ProbeId, &ProbeState, Timestamp)> = probes
            .iter()
            .filter(|(_, state)| state.health() == Health::Down)
            .filter_map(|(probe, state)| Some((probe, state, state.since()?)))
            .collect();
        let concerns = |row: &&Row| {
            red.iter().filter(|(.., since)| *since <= row.entry.at).any(|(probe, state, _)| match &row.about {
                About::Probes(about) => about.contains(probe),
                About::Matching(matchers) => quiet::all_fit(matchers, &labels(probe, state)),
                About::All => true,
            })
        };
        self.rows.iter().filter(concerns).map(|it| &it.entry).collect()
    }
}

/// The notes of the log-books that a new incident takes along: those since the first of what is down now went down, or
/// since the impact that was declared. Each stands in one incident.
pub(super) fn notes(incidents: &IncidentBoard, new: &Incident, probes: &ProbeBoard) -> Vec<MachineEntry> {
    let first_red = probes.first_red().and_then(|it| probes.get(it)?.since());
    let Some(since) = first_red.into_iter().chain(new.impact_start).min() else { return Vec::new() };
    // What is red for days began before this incident did.
    let since = new.declared_at.checked_sub(NOTES_SINCE).map_or(since, |it| it.max(since));
    let is_taken = |at: Timestamp, by: &str, text: &str| {
        let mut entries = incidents.incidents.iter().filter(|it| !it.log_book).flat_map(|it| &it.entries);
        entries.any(|it| it.at == at && it.by == by && matches!(&it.body, EntryBody::Note(it) if it.text == text))
    };
    let mut notes: Vec<MachineEntry> = Vec::new();
    for book in incidents.incidents.iter().filter(|it| it.log_book) {
        for row in book.timeline().into_iter().filter(|it| it.at >= since) {
            let text = match &row.entry.body {
                EntryBody::Note(note) => row.text.unwrap_or(&note.text).to_string(),
                // Its records stay where they were pinned.
                EntryBody::Pin(_) => row.words(),
                _ => continue,
            };
            let (at, by) = (row.at, &row.entry.by);
            if !is_taken(at, by, &text) {
                let (subject, by) = (book.id.name().to_string(), Some(by.clone()));
                notes.push(MachineEntry { at, kind: MachineKind::Note, subject, text, by });
            }
        }
    }
    notes.sort_by_key(|it| it.at);
    let first = notes.len().saturating_sub(NOTES_MAX);
    notes.split_off(first)
}

/// Which probes a line of the alert policy is about, by the name that it has there.
pub(super) fn about(subject: &str, alerts: &AlertBoard, probes: &ProbeBoard) -> About {
    let mut about: Vec<ProbeId> =
        probes.iter().filter(|(it, _)| it.name() == subject).map(|(it, _)| it.clone()).collect();
    if about.is_empty() {
        let named = alerts.alerts().filter(|it| it.probe().is_none() && it.name() == subject);
        about = named.flat_map(|it| probes_of(it, alerts)).collect();
    }
    if about.is_empty() { About::All } else { About::Probes(about) }
}

fn probes_of(alert: &Alert, alerts: &AlertBoard) -> Vec<ProbeId> {
    match &alert.subject {
        Subject::Probe { probe, .. } => vec![probe.clone()],
        Subject::Common { children, .. } => {
            children.iter().filter_map(|it| alerts.alert(it)?.probe().cloned()).collect()
        }
    }
}

/// What is known of an alert over a restart. A mark without an end is one on its probe.
fn of_alert(alert: &Alert) -> Vec<MachineEntry> {
    let ack = alert.acked.as_ref().filter(|_| alert.probe().is_some()).and_then(|ack| {
        let text = format!("acknowledged by {} until {:.0}", ack.by, ack.until?);
        Some(entry(ack.at, alert.probe()?.as_str(), text, Some(&ack.by)))
    });
    let paged = alert.contacts.iter().filter_map(|(notifier, contact)| {
        let whom = contact.person.as_ref().map(|it| format!("{it} ")).unwrap_or_default();
        Some(entry(contact.taken?, &alert.name(), format!("paged {whom}by `{notifier}`"), None))
    });
    ack.into_iter().chain(paged).collect()
}

/// A silence as a timeline says it.
pub(super) fn silenced(it: &quiet::Silence) -> String {
    let comment = if it.comment.is_empty() { String::new() } else { format!(": {}", it.comment) };
    format!("of `{}` by {} until {:.0}{comment}", it.what(), it.by, it.until)
}

fn entry(at: Timestamp, subject: &str, text: String, by: Option<&String>) -> MachineEntry {
    MachineEntry { at, kind: MachineKind::Alert, subject: subject.to_string(), text, by: by.cloned() }
}
