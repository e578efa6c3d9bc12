//! Since when nothing new was heard of the other end.
//!
//! A screen that was stopped reads what had come before first, all at once when it goes on, and only then sees that
//! the connection is gone: by the moment of reading alone it would have been lost a second ago. So a silence that no
//! living end keeps is remembered, and counts when the end comes right behind it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::agent::protocol::SILENCE_MAX;

/// What is known of it. Times are of the wall clock, which goes on while a process is stopped or the machine sleeps.
#[derive(Debug)]
pub struct Heard(Mutex<Ear>);

#[derive(Debug, Clone, Copy)]
struct Ear {
    last: Timestamp,
    /// The newest silence that was too long, from when until when.
    silence: Option<(Timestamp, Timestamp)>,
}

impl Heard {
    /// Something was heard at this time.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(Ear { last: now, silence: None }))
    }

    /// Something is heard again.
    pub fn note(&self, now: Timestamp) {
        let mut ear = self.lock();
        if is_silence(ear.last, now) {
            ear.silence = Some((ear.last, now));
        } else if now < ear.last {
            // The clock was put back: times before it tell nothing.
            ear.silence = None;
        }
        ear.last = now;
    }

    /// Since when nothing new has come, for a connection that ended at `now`; never later than that.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        let ear = *self.lock();
        let since = match ear.silence {
            // All that came after it had waited to be read.
            Some((from, until)) if !is_silence(until, ear.last) => from,
            _ => ear.last,
        };
        since.min(now)
    }

    /// True when nothing new had come for too long, for a connection that ended at `now`.
    pub fn was_silent(&self, now: Timestamp) -> bool {
        is_silence(self.since(now), now)
    }

    fn lock(&self) -> MutexGuard<'_, Ear> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_silence(from: Timestamp, until: Timestamp) -> bool {
    SignedDuration::try_from(SILENCE_MAX).is_ok_and(|it| until.duration_since(from) >= it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(it: i64) -> Timestamp {
        Timestamp::from_second(it).expect("a valid time")
    }

    #[test]
    fn what_had_waited_to_be_read_does_not_hide_how_long_nothing_was_heard() {
        // Heard at these seconds, ended at that one: since when nothing new came.
        for (heard, ended, since) in [
            (&[1, 2, 3][..], 3, 3),
            (&[1, 2, 3], 5, 3),
            (&[1, 2, 27, 27, 28], 28, 2),
            (&[1, 2, 27, 28, 29, 30], 30, 30),
            (&[1, 20, 40], 41, 20),
            // The clock was put back.
            (&[1, 30, 10], 10, 10),
        ] {
            let ear = Heard::at(second(0));
            heard.iter().for_each(|it| ear.note(second(*it)));
            assert_eq!(ear.since(second(ended)), second(since), "{heard:?}");
        }
    }
}
