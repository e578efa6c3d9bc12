//! Knows what the terminal has shown, not only what the system has taken.
//!
//! Over SSH whole screens fit into the buffers between here and the terminal: writing never blocks, and a held key
//! fills them with frames that are old when they come up. So a large frame ends with a question that every terminal
//! answers in order, a device status report. Without the answer only so many frames are under way, as many as the
//! link shows without a queue; what changes meanwhile is in the next one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Asks for the status, answered with `ESC [ 0 n` when all that was sent before has been read.
pub const QUESTION: &[u8] = b"\x1b[5n";

/// Frames under way at most: at 100 ms there and back still thirty a second.
const MAX_UNDER_WAY: usize = 4;
/// Bytes since the last question that are worth another: an appended line is not, a page is.
const WORTH_BYTES: usize = 1024;
/// An answer that comes so much later than the fastest one has stood in a queue.
const QUEUED: Duration = Duration::from_millis(60);
/// Without an answer for so long it is taken to be lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// After so many lost answers nothing is asked any more.
const MAX_LOST: u8 = 3;

/// The frames under way to one terminal.
#[derive(Debug, Default)]
pub struct Fence {
    /// The terminal is known to answer.
    answers: bool,
    /// When the questions without an answer were sent, oldest first.
    sent: VecDeque<Instant>,
    /// Frames that may be under way.
    room: usize,
    least: Option<Duration>,
    bytes: usize,
    lost: u8,
}

impl Fence {
    /// A frame of so many bytes goes out now. Returns what is to be sent behind it.
    pub fn send(&mut self, bytes: usize, now: Instant) -> &'static [u8] {
        self.bytes += bytes;
        if !self.answers || self.bytes < WORTH_BYTES {
            return b"";
        }
        self.bytes = 0;
        self.sent.push_back(now);
        QUESTION
    }

    /// The terminal has answered.
    pub fn answered(&mut self, now: Instant) {
        // The first answer is to a question of the start.
        if !std::mem::replace(&mut self.answers, true) {
            self.room = 2;
        }
        let Some(sent) = self.sent.pop_front() else { return };
        self.lost = 0;
        let took = now.saturating_duration_since(sent);
        let least = self.least.map_or(took, |it| it.min(took));
        self.least = Some(least);
        self.room = if took > least + QUEUED { 1 } else { (self.room + 1).min(MAX_UNDER_WAY) };
    }

    /// How long from `now` the next frame has to wait at most, when no answer comes.
    pub fn wait(&self, now: Instant) -> Duration {
        match self.sent.front() {
            Some(first) if self.sent.len() >= self.room => (*first + PATIENCE).saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    /// Gives up waiting for answers that are overdue.
    pub fn expire(&mut self, now: Instant) {
        if self.sent.front().is_some_and(|it| now.saturating_duration_since(*it) >= PATIENCE) {
            self.sent.clear();
            self.lost += 1;
            self.answers = self.lost < MAX_LOST;
        }
    }

    /// Somebody else had the terminal, and took the answers.
    pub fn forget(&mut self) {
        self.sent.clear();
    }

    /// True when answers may still come.
    pub fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_terminal_that_never_answered_is_not_asked_and_not_waited_for() {
        let start = crate::clock::monotonic();
        let mut fence = Fence::default();
        assert!(fence.send(50_000, start).is_empty());
        assert_eq!(fence.wait(start), Duration::ZERO);
    }

    #[test]
    fn a_queue_leaves_one_frame_under_way_and_a_free_link_several() {
        let start = crate::clock::monotonic();
        let mut fence = Fence::default();
        fence.answered(start);
        assert!(fence.send(200, start).is_empty(), "a small frame is not worth a question");
        for _ in 0..4 {
            assert_eq!(fence.send(5_000, start), QUESTION);
            fence.answered(start + 100 * MS);
        }
        for _ in 0..MAX_UNDER_WAY {
            assert_eq!(fence.wait(start), Duration::ZERO);
            fence.send(5_000, start);
        }
        assert!(fence.wait(start) > Duration::ZERO);
        fence.answered(start + 400 * MS);
        for _ in 1..MAX_UNDER_WAY {
            assert!(fence.wait(start) > Duration::ZERO, "what is under way has to be shown first");
            fence.answered(start + 500 * MS);
        }
        assert_eq!(fence.wait(start), Duration::ZERO);
        fence.send(5_000, start);
        assert!(fence.wait(start) > Duration::ZERO);
    }

    #[test]
    fn lost_answers_hold_nothing_up_for_long() {
        let mut now = crate::clock::monotonic();
        let mut fence = Fence::default();
        fence.answered(now);
        for _ in 0..MAX_LOST {
            while fence.wait(now).is_zero() {
                fence.send(5_000, now);
            }
            assert_eq!(fence.wait(now), PATIENCE);
            now += PATIENCE;
            fence.expire(now);
            assert_eq!(fence.wait(now), Duration::ZERO);
        }
        assert!(fence.send(5_000, now).is_empty() && !fence.is_waiting());
    }
}
