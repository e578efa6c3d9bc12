//! One-line notices: what was just done or went wrong, shown until it is old, or read and the reader has gone on.

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Notice, NoticeSeverity};

/// Notices kept while newer ones cover them: more than that nobody reads.
pub const NOTICES_MAX: usize = 8;

/// The notices that are not old yet; the newest is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    // Oldest first.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    notice: Notice,
    said: Timestamp,
    // Taken away then.
    until: Timestamp,
}

impl Notices {
    /// Shows a notice. The same line again only lasts longer.
    pub fn push(&mut self, now: Timestamp, notice: Notice) {
        // A success is glanced at; a failure must be read, and perhaps copied.
        let seconds = match notice.severity {
            NoticeSeverity::Info => 4,
            NoticeSeverity::Warn => 8,
            NoticeSeverity::Error => 20,
        };
        self.entries.retain(|it| it.notice != notice);
        self.entries.push(Entry { notice, said: now, until: after(now, SignedDuration::from_secs(seconds)) });
        if self.entries.len() > NOTICES_MAX {
            self.entries.remove(0);
        }
    }

    /// The notice to show: the newest among the most serious, so that "note saved" does not hide a failure.
    pub fn shown(&self) -> Option<&Notice> {
        self.entries.iter().map(|it| &it.notice).max_by_key(|it| it.severity as u8)
    }

    /// Takes away what is old by now.
    pub fn expire(&mut self, now: Timestamp) {
        // What was said in the future was said before the clock was set back.
        self.entries.retain(|it| it.until > now && it.said <= now);
    }

    /// The reader has gone on, with a key that does something: what was said before goes when it has been there long
    /// enough to be read, for what comes by itself may come between two keys.
    pub fn go_on(&mut self, now: Timestamp) {
        for it in &mut self.entries {
            let milliseconds = match it.notice.severity {
                NoticeSeverity::Info => 1_000,
                NoticeSeverity::Warn => 2_000,
                NoticeSeverity::Error => 5_000,
            };
            it.until = it.until.min(after(it.said, SignedDuration::from_millis(milliseconds)));
        }
        self.expire(now);
    }

    /// Takes the shown notice away. `false`: there was none.
    pub fn dismiss(&mut self) -> bool {
        let Some(shown) = self.shown().cloned() else { return false };
        self.entries.retain(|it| it.notice != shown);
        true
    }

    /// Takes away all but failures: what they told of has been left.
    pub fn leave(&mut self) {
        self.entries.retain(|it| it.notice.severity == NoticeSeverity::Error);
    }

    /// When the next one becomes old.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.entries.iter().map(|it| it.until).min()
    }
}

fn after(at: Timestamp, length: SignedDuration) -> Timestamp {
    at.checked_add(length).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(severity: NoticeSeverity, text: &str) -> Notice {
        Notice { severity, text: text.into() }
    }

    #[test]
    fn a_failure_outlives_the_success_after_it() {
        let now: Timestamp = "2024-08-19T06:51:31Z".parse().unwrap();
        let mut notices = Notices::default();
        notices.push(now, notice(NoticeSeverity::Error, "backup failed"));
        notices.push(now, notice(NoticeSeverity::Info, "note saved"));
        assert_eq!(notices.shown().map(|it| it.text.as_str()), Some("backup failed"));
        assert_eq!(notices.next_wake(), Some(now + SignedDuration::from_secs(4)));
        notices.expire(now + SignedDuration::from_secs(4));
        assert_eq!(notices.shown().map(|it| it.text.as_str()), Some("backup failed"));
        assert!(notices.dismiss());
        assert!(!notices.dismiss());
    }

    #[test]
    fn the_newest_of_equals_is_shown_and_old_ones_make_room() {
        let now: Timestamp = "2024-08-19T06:51:31Z".parse().unwrap();
        let mut notices = Notices::default();
        for number in 0..20 {
            notices.push(now, notice(NoticeSeverity::Warn, &format!("warning {number}")));
        }
        assert_eq!(notices.shown().map(|it| it.text.as_str()), Some("warning 19"));
        assert_eq!(notices.entries.len(), NOTICES_MAX);
    }

    #[test]
    fn a_key_ends_what_has_been_read_and_no_failure_that_has_just_come() {
        let now: Timestamp = "2024-08-19T06:51:31Z".parse().unwrap();
        let at = |milliseconds| now + SignedDuration::from_millis(milliseconds);
        let mut notices = Notices::default();
        notices.push(now, notice(NoticeSeverity::Info, "copied"));
        notices.push(now, notice(NoticeSeverity::Warn, "this is the past"));
        notices.push(now, notice(NoticeSeverity::Error, "not done"));
        let shown = |notices: &Notices| notices.shown().map(|it| it.text.clone());
        // The key after which nothing comes still ends them, each at its time.
        notices.go_on(at(100));
        assert_eq!(notices.entries.len(), 3);
        assert_eq!(notices.next_wake(), Some(at(1_000)));
        notices.expire(at(2_000));
        assert_eq!((notices.entries.len(), shown(&notices)), (1, Some("not done".into())));
        notices.expire(at(5_000));
        assert_eq!(shown(&notices), None);
        notices.push(at(6_000), notice(NoticeSeverity::Error, "not done"));
        notices.go_on(at(12_000));
        assert_eq!(shown(&notices), None);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_a_notice() {
        let now: Timestamp = "2024-08-19T06:51:31Z".parse().unwrap();
        let mut notices = Notices::default();
        notices.push(now, notice(NoticeSeverity::Info, "copied"));
        notices.expire(now - SignedDuration::from_hours(1));
        assert_eq!(notices.shown(), None);
    }
}
