//! Decides when the next frame may be drawn.
//!
//! A key draws at once. Everything else waits until the last frame is old enough, because a hundred lines
//! in one frame cost what one line costs. A terminal that takes its bytes slowly gets fewer frames.

use std::time::{Duration, Instant};

/// Between frames on a local terminal: thirty a second.
pub const LOCAL_GAP: Duration = Duration::from_millis(33);
/// Between frames over SSH: ten a second.
pub const REMOTE_GAP: Duration = Duration::from_millis(100);
/// Between frames on a link that was called slow (`--low-bandwidth`).
pub const SLOW_GAP: Duration = Duration::from_millis(500);
/// However slow the terminal, a frame a second is tried.
const GAP_MAX: Duration = Duration::from_secs(1);
/// What a key asked of the runtime should be seen when it is there, not when the next frame is due.
const ANSWER_TIME: Duration = Duration::from_millis(250);
/// Between frames while the answer to a key may come in.
const ANSWER_GAP: Duration = Duration::from_millis(8);
/// A frame that takes longer than this to be taken is one that the terminal blocked.
const BLOCKED: Duration = Duration::from_millis(5);

/// Paces the frames of one terminal.
#[derive(Debug)]
pub struct Pacer {
    gap: Duration,
    // Grows when the terminal blocks, shrinks when it does not.
    stretched: Duration,
    drawn: Option<Instant>,
    pressed: Option<Instant>,
}

impl Pacer {
    /// Makes a pacer that leaves `gap` between frames.
    pub fn new(gap: Duration) -> Self {
        Self { gap, stretched: gap, drawn: None, pressed: None }
    }

    /// How long from `now` a frame that no key asked for has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        let answering = self.pressed.is_some_and(|it| now.saturating_duration_since(it) < ANSWER_TIME);
        // A terminal that blocks is not helped by haste.
        let gap = if answering && self.stretched == self.gap { ANSWER_GAP.min(self.gap) } else { self.stretched };
        self.drawn.map_or(Duration::ZERO, |it| (it + gap).saturating_duration_since(now))
    }

    /// A key was pressed.
    pub fn pressed(&mut self, now: Instant) {
        self.pressed = Some(now);
    }

    /// A frame was drawn and handed to the terminal.
    pub fn drawn(&mut self, now: Instant) {
        self.drawn = Some(now);
    }

    /// The terminal has taken the last frame; it took this long.
    pub fn taken(&mut self, took: Duration) {
        self.stretched = if took > BLOCKED {
            // Twice the time it takes leaves the link half free, for keys and their answers.
            self.stretched.max(took * 2).min(GAP_MAX.max(self.gap))
        } else {
            (self.stretched / 2).max(self.gap)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn frames_keep_their_distance_and_the_first_waits_for_nothing() {
        let start = crate::clock::monotonic();
        let mut pacer = Pacer::new(LOCAL_GAP);
        assert_eq!(pacer.wait(start), Duration::ZERO);
        pacer.drawn(start);
        assert_eq!(pacer.wait(start + 10 * MS), 23 * MS);
        assert_eq!(pacer.wait(start + 50 * MS), Duration::ZERO);
    }

    #[test]
    fn the_answer_to_a_key_is_not_kept_waiting() {
        let start = crate::clock::monotonic();
        let mut pacer = Pacer::new(REMOTE_GAP);
        pacer.drawn(start);
        pacer.pressed(start);
        assert_eq!(pacer.wait(start), ANSWER_GAP);
        assert_eq!(pacer.wait(start + 10 * MS), Duration::ZERO);
        pacer.drawn(start + 300 * MS);
        assert_eq!(pacer.wait(start + 300 * MS), REMOTE_GAP);
    }

    #[test]
    fn a_terminal_that_blocks_gets_fewer_frames_until_it_keeps_up() {
        let start = crate::clock::monotonic();
        let mut pacer = Pacer::new(REMOTE_GAP);
        pacer.drawn(start);
        pacer.taken(200 * MS);
        assert_eq!(pacer.wait(start), 400 * MS);
        pacer.taken(5000 * MS);
        assert_eq!(pacer.wait(start), GAP_MAX);
        for _ in 0..4 {
            pacer.taken(MS);
        }
        assert_eq!(pacer.wait(start), REMOTE_GAP);
    }
}
