//! What waits for one notifier, found by alert and by when it is due without looking at the rest: a storm puts a
//! thousand things in here one by one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Severity;
use crate::domain::alert::delivery::Action;

/// One thing that one notifier is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The alert's key.
    pub key: String,
    /// What is told of it.
    pub action: Action,
    /// When it was decided.
    pub queued: Timestamp,
    /// When it may go.
    pub due: Timestamp,
    /// How bad it is; of what an older version wrote the worst.
    #[serde(default)]
    pub severity: Severity,
    /// That it is held longer than its own wait was written down.
    #[serde(default)]
    pub is_held: bool,
}

impl Entry {
    /// Something that is told of an alert, decided now and due then.
    pub fn new(key: &str, severity: Severity, action: Action, queued: Timestamp, due: Timestamp) -> Self {
        Self { key: key.to_string(), action, queued, due, severity, is_held: false }
    }

    /// What it is about, whichever of its alerts this is: the key without its number.
    pub fn subject(&self) -> &str {
        subject_of(&self.key)
    }
}

/// What an alert is about: its key without its number.
pub fn subject_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(subject, _)| subject)
}

/// Entries, one an alert; as data they are a list in the order in which they were decided.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct Waiting {
    entries: BTreeMap<String, Entry>,
    // Of every entry, when it is due.
    dues: BTreeSet<(Timestamp, String)>,
    // Of which it was not written down that they are held.
    unheld: BTreeSet<String>,
    // No entry was decided later.
    latest: Option<Timestamp>,
}

impl Waiting {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What waits about an alert.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Puts an entry in, in the place of the one about the same alert.
    pub fn insert(&mut self, entry: Entry) {
        self.remove(&entry.key);
        self.latest = self.latest.max(Some(entry.queued));
        self.dues.insert((entry.due, entry.key.clone()));
        if !entry.is_held {
            self.unheld.insert(entry.key.clone());
        }
        self.entries.insert(entry.key.clone(), entry);
    }

    /// Takes out what waits about an alert.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.dues.remove(&(entry.due, key.to_string()));
        self.unheld.remove(key);
        Some(entry)
    }

    /// When the first of them may go.
    pub fn due(&self) -> Option<Timestamp> {
        self.dues.first().map(|it| it.0)
    }

    /// The keys of those that may go by `now`, the one that is due first at the front.
    pub fn due_by(&self, now: Timestamp) -> Vec<String> {
        self.dues.iter().take_while(|it| it.0 <= now).map(|it| it.1.clone()).collect()
    }

    /// Marks as held what would have gone before `until` by its own wait, and answers it: each is answered once.
    pub fn hold(&mut self, until: Timestamp) -> Vec<Entry> {
        let is_early = |key: &&String| self.entries.get(*key).is_some_and(|it| it.due < until);
        let keys: Vec<String> = self.unheld.iter().filter(is_early).cloned().collect();
        let mut held = Vec::new();
        for key in keys {
            self.unheld.remove(&key);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.is_held = true;
                held.push(entry.clone());
            }
        }
        held
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The keys of all of them.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// Takes all of them out, in the order in which they were decided.
    pub fn take(&mut self) -> Vec<Entry> {
        std::mem::take(self).into()
    }

    /// Makes nothing have been decided after a clock that was set back: what was waits `wait` from now on at most.
    /// Answers the keys of what that was.
    pub fn set_back(&mut self, now: Timestamp, wait: jiff::SignedDuration) -> Vec<String> {
        if self.latest.is_none_or(|it| it <= now) {
            return Vec::new();
        }
        self.latest = Some(now);
        let ahead: Vec<Entry> = self.entries.values().filter(|it| it.queued > now).cloned().collect();
        let keys = ahead.iter().map(|it| it.key.clone()).collect();
        for entry in ahead {
            let due = entry.due.min(now + wait);
            self.insert(Entry { due, queued: now, ..entry });
        }
        keys
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        // The rest is derived, and a bound may be wider than it has to be.
        self.entries == other.entries
    }
}

impl From<Vec<Entry>> for Waiting {
    fn from(entries: Vec<Entry>) -> Self {
        let mut waiting = Self::default();
        entries.into_iter().for_each(|it| waiting.insert(it));
        waiting
    }
}

impl From<Waiting> for Vec<Entry> {
    fn from(waiting: Waiting) -> Self {
        let mut all: Vec<Entry> = waiting.entries.into_values().collect();
        all.sort_by_key(|it| it.queued);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    fn entry(key: &str, queued: i64, due: i64) -> Entry {
        Entry::new(key, Severity::Critical, Action::Trigger, at(queued), at(due))
    }

    #[test]
    fn the_first_that_is_due_is_known_whatever_goes_in_and_out() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.due(), None);
        for it in [entry("c", 1, 30), entry("a", 3, 20), entry("b", 2, 25)] {
            waiting.insert(it);
        }
        assert_eq!(waiting.due(), Some(at(20)));
        assert_eq!(waiting.due_by(at(25)), ["a", "b"]);
        waiting.insert(entry("a", 3, 40));
        assert_eq!(waiting.due(), Some(at(25)));
        assert_eq!(waiting.remove("b").map(|it| it.due), Some(at(25)));
        assert_eq!((waiting.due(), waiting.len()), (Some(at(30)), 2));
        let order: Vec<String> = waiting.take().into_iter().map(|it| it.key).collect();
        assert_eq!(order, ["c", "a"]);
        assert_eq!((waiting.due(), waiting.len()), (None, 0));
    }

    #[test]
    fn that_something_is_held_is_said_once() {
        let mut waiting = Waiting::from(vec![entry("a", 1, 10), entry("b", 1, 70)]);
        let held = |it: Vec<Entry>| it.into_iter().map(|it| it.key).collect::<Vec<_>>();
        assert_eq!(held(waiting.hold(at(60))), ["a"]);
        let mut waiting = Waiting::from(Vec::from(waiting));
        assert!(waiting.hold(at(60)).is_empty(), "also after a restart");
        assert_eq!(held(waiting.hold(at(80))), ["b"]);
    }

    #[test]
    fn it_is_kept_as_a_list() {
        let waiting = Waiting::from(vec![entry("b", 1, 9), entry("a", 2, 8)]);
        let text = serde_json::to_string(&waiting).expect("plain");
        assert!(text.starts_with(r#"[{"key":"b","#), "{text}");
        let back: Waiting = serde_json::from_str(&text).expect("the same");
        assert_eq!((back.due(), &back), (Some(at(8)), &waiting));
    }

    #[test]
    fn a_clock_that_is_set_back_lets_nothing_wait_longer_than_its_wait() {
        let mut waiting = Waiting::from(vec![entry("a", 5000, 5010), entry("b", 50, 60)]);
        assert_eq!(waiting.set_back(at(100), jiff::SignedDuration::from_secs(10)), ["a"]);
        assert_eq!(waiting.get("a"), Some(&entry("a", 100, 110)));
        assert!(waiting.set_back(at(100), jiff::SignedDuration::from_secs(10)).is_empty());
    }
}
