//! Keeps a connection of a producer up: how long to wait, what to say, and where the gap goes.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::domain::log::{GapKind, SourceState};
use crate::service::log::producer::Feed;

/// Pause after the first failure.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: a host that comes back is seen within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that held so long was no part of the trouble before it.
const HEALTHY: Duration = Duration::from_secs(60);

/// How long to wait before the next try: doubling, jittered, from the start again after a healthy minute.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    /// Begins with this pause.
    pub fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// The pause after a try that was up for so long. `random` is from 0 to 1.
    pub fn pause(&mut self, up: Duration, random: f64) -> Duration {
        if up >= HEALTHY {
            self.failures = 0;
        }
        let pause = (self.first * 2u32.saturating_pow(self.failures.min(10))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        // Fifty sources of one dead host must not come back in step.
        pause.mul_f64(0.75 + random.clamp(0.0, 1.0) / 4.0)
    }
}

/// What happens after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The next one after a growing pause.
    Backoff,
    /// The next one after this pause, without a word: nothing went wrong.
    After(Duration),
    /// The next one at once, without a word: it goes on with other settings.
    AtOnce,
    /// None: everything was said.
    Never,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Why, in words for one line.
    pub why: String,
    /// What now.
    pub again: Again,
}

impl Lost {
    /// It failed and is tried again.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Again::Backoff }
    }

    /// It goes on at once.
    pub fn at_once() -> Self {
        Self { why: String::new(), again: Again::AtOnce }
    }

    /// There is nothing more to come.
    pub fn ended() -> Self {
        Self { why: String::new(), again: Again::Never }
    }
}

/// One connection over all its tries.
#[derive(Debug)]
pub struct Connection {
    backoff: Backoff,
    up_since: Option<Instant>,
    /// When it was lost for the first time since it was up, and why.
    lost: Option<(Timestamp, String)>,
    was_up: bool,
}

impl Connection {
    fn new(first_pause: Duration) -> Self {
        Self { backoff: Backoff::new(first_pause), up_since: None, lost: None, was_up: false }
    }

    /// Says that the connection is there; does nothing when that is known. `resumed` is true when nothing is missing.
    pub fn is_up(&mut self, feed: &mut Feed, resumed: bool) {
        self.is_up_with(feed, |away_seconds, _| GapKind::Reconnected { away_seconds, resumed });
    }

    /// As [`Connection::is_up`]; `gap` makes what is said of the time away, from its seconds and why it was lost.
    pub fn is_up_with(&mut self, feed: &mut Feed, gap: impl FnOnce(u64, &str) -> GapKind) {
        if self.up_since.is_some() {
            return;
        }
        self.up_since = Some(clock::monotonic());
        feed.tail(None);
        if let Some((lost_at, why)) = self.lost.take()
            && self.was_up
        {
            let away = clock::now().duration_since(lost_at).as_secs();
            feed.gap(&gap(u64::try_from(away).unwrap_or(0), &why));
        }
        self.was_up = true;
        feed.state(&SourceState::Connected);
    }

    /// True since the last try said so.
    pub fn knows_up(&self) -> bool {
        self.up_since.is_some()
    }

    /// What is read rests, and the connection is no longer up; the next one is no return from trouble.
    pub fn rests(&mut self) {
        self.up_since = None;
        self.was_up = false;
    }

    fn is_lost(&mut self, feed: &mut Feed, why: &str) -> Duration {
        let now = clock::now();
        let up = self.up_since.take().map_or(Duration::ZERO, |it| clock::monotonic().duration_since(it));
        let pause = self.backoff.pause(up, fastrand::f64());
        let first = self.lost.as_ref().map_or(now, |it| it.0);
        self.lost = Some((first, why.to_string()));
        feed.tail(Some(&GapKind::Failed(why.to_string())));
        let next = now + jiff::SignedDuration::try_from(pause).unwrap_or_default();
        feed.state(&SourceState::Reconnecting { why: why.to_string(), next });
        pause
    }
}

/// Makes one try after the other until there is nothing more to come or the feed is stopped.
pub fn keep_up(feed: &mut Feed, mut attempt: impl FnMut(&mut Feed, &mut Connection) -> Lost) {
    let mut connection = Connection::new(feed.first_pause());
    feed.state(&SourceState::Waiting("connecting".into()));
    loop {
        let lost = attempt(feed, &mut connection);
        if feed.is_stopped() {
            return;
        }
        let pause = match lost.again {
            Again::Never => {
                feed.tail(Some(&GapKind::Ended));
                feed.state(&SourceState::Ended);
                return;
            }
            _ if !feed.follows() => {
                let ended = if lost.why.is_empty() { GapKind::Ended } else { GapKind::Failed(lost.why.clone()) };
                feed.tail(Some(&ended));
                let failed = || SourceState::Failed(lost.why.clone());
                feed.state(&if lost.why.is_empty() { SourceState::Ended } else { failed() });
                return;
            }
            Again::AtOnce => Duration::ZERO,
            Again::After(pause) => pause.mul_f64(feed.first_pause().as_secs_f64() / FIRST_PAUSE.as_secs_f64()),
            Again::Backoff => connection.is_lost(feed, &lost.why),
        };
        if feed.wait(pause) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_minute_and_begin_again_after_a_healthy_minute() {
        let mut backoff = Backoff::new(FIRST_PAUSE);
        let short = Duration::from_secs(59);
        let pauses: Vec<u64> = (0..8).map(|_| backoff.pause(short, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.pause(HEALTHY, 1.0).as_secs(), 1);
        assert_eq!(backoff.pause(short, 0.0), Duration::from_millis(1500), "no jitter");
        for _ in 0..100 {
            assert!(backoff.pause(short, 0.5) <= LONGEST_PAUSE);
        }
    }
}
