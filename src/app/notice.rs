//! One-line notices: what was just done or went wrong, shown until it is old or Esc is pressed.

use jiff::{SignedDuration, Timestamp};

use crate::app::effect::{Notice, NoticeSeverity};

/// Notices kept while newer ones cover them: more than that nobody reads.
pub const NOTICES_MAX: usize = 8;

/// The notices that are not old yet; the newest is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    // Oldest first, with the time at which each is taken away.
    entries: Vec<(Notice, Timestamp)>,
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
        let until = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        self.entries.retain(|(it, _)| *it != notice);
        self.entries.push((notice, until));
        if self.entries.len() > NOTICES_MAX {
            self.entries.remove(0);
        }
    }

    /// The notice to show: the newest among the most serious, so that "note saved" does not hide a failure.
    pub fn shown(&self) -> Option<&Notice> {
        self.entries.iter().map(|(it, _)| it).max_by_key(|it| it.severity as u8)
    }

    /// Takes away what is old by now.
    pub fn expire(&mut self, now: Timestamp) {
        self.entries.retain(|(_, until)| *until > now);
    }

    /// Takes the shown notice away. `false`: there was none.
    pub fn dismiss(&mut self) -> bool {
        let Some(shown) = self.shown().cloned() else { return false };
        self.entries.retain(|(it, _)| *it != shown);
        true
    }

    /// When the next one becomes old.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.entries.iter().map(|(_, until)| *until).min()
    }
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
}
