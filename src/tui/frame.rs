//! Decides when the next frame may be drawn.
//!
//! A key draws at once. Everything else waits until the last frame is old enough, because a hundred lines
//! in one frame cost what one line costs. A terminal that takes its bytes slowly gets fewer frames, and so does
//! one that is sent many: under a flood every frame is a whole pane that nobody can read thirty times a second.

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
/// Between the first frames: what a screen opens with arrives in pieces, and the log is the last of them.
const OPENING_GAP: Duration = Duration::from_millis(1);
/// Frames that are let through like that.
const OPENING_FRAMES: u8 = 10;
/// Bytes a second that frames may cost which no key asked for: a fifth of what an SSH line of 1 Mbit/s carries.
const BYTES_PER_SECOND: u32 = 24_000;
/// However large a frame was, the next may follow after this: a new line is seen within 120 ms.
const BUDGET_GAP_MAX: Duration = Duration::from_millis(100);
/// A frame that takes longer than this to be taken is one that the terminal blocked.
const BLOCKED: Duration = Duration::from_millis(5);

/// Paces the frames of one terminal.
#[derive(Debug)]
pub struct Pacer {
    gap: Duration,
    // Grows when the terminal blocks, shrinks when it does not.
    stretched: Duration,
    // What the last frame's bytes leave of the budget.
    saving: Duration,
    drawn: Option<Instant>,
    pressed: Option<Instant>,
    opening_left: u8,
}

impl Pacer {
    /// Makes a pacer that leaves `gap` between frames.
    pub fn new(gap: Duration) -> Self {
        Self { gap, stretched: gap, saving: Duration::ZERO, drawn: None, pressed: None, opening_left: OPENING_FRAMES }
    }

    /// How long from `now` a frame that no key asked for has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        let answering = self.pressed.is_some_and(|it| now.saturating_duration_since(it) < ANSWER_TIME);
        // A terminal that blocks is not helped by haste.
        let gap = match (self.stretched == self.gap, answering) {
            (true, _) if self.opening_left > 0 => OPENING_GAP.min(self.gap),
            (true, true) => ANSWER_GAP.min(self.gap),
            _ => self.stretched.max(self.saving),
        };
        self.drawn.map_or(Duration::ZERO, |it| (it + gap).saturating_duration_since(now))
    }

    /// A key was pressed.
    pub fn pressed(&mut self, now: Instant) {
        self.pressed = Some(now);
    }

    /// A frame was drawn and handed to the terminal.
    pub fn drawn(&mut self, now: Instant) {
        self.drawn = Some(now);
        self.opening_left = self.opening_left.saturating_sub(1);
    }

    /// The last frame had so many bytes.
    pub fn sent(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.saving = (Duration::from_secs(1) * bytes / BYTES_PER_SECOND).min(BUDGET_GAP_MAX);
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

    /// A pacer behind its first frames.
    fn opened(gap: Duration, now: Instant) -> Pacer {
        let mut pacer = Pacer::new(gap);
        for _ in 0..OPENING_FRAMES {
            pacer.drawn(now);
        }
        pacer
    }

    #[test]
    fn the_first_frames_follow_each_other_at_once() {
        let start = crate::clock::monotonic();
        let mut pacer = Pacer::new(REMOTE_GAP);
        for _ in 1..OPENING_FRAMES {
            pacer.drawn(start);
            assert_eq!(pacer.wait(start), OPENING_GAP);
        }
        pacer.drawn(start);
        assert_eq!(pacer.wait(start), REMOTE_GAP);
    }

    #[test]
    fn frames_keep_their_distance_and_the_first_waits_for_nothing() {
        let start = crate::clock::monotonic();
        assert_eq!(Pacer::new(LOCAL_GAP).wait(start), Duration::ZERO);
        let pacer = opened(LOCAL_GAP, start);
        assert_eq!(pacer.wait(start + 10 * MS), 23 * MS);
        assert_eq!(pacer.wait(start + 50 * MS), Duration::ZERO);
    }

    #[test]
    fn large_frames_follow_each_other_more_slowly_but_not_too_slowly() {
        let start = crate::clock::monotonic();
        let mut pacer = opened(LOCAL_GAP, start);
        for (bytes, gap) in [(300, LOCAL_GAP), (1_200, 50 * MS), (50_000, BUDGET_GAP_MAX), (0, LOCAL_GAP)] {
            pacer.sent(bytes);
            assert_eq!(pacer.wait(start), gap, "{bytes}");
        }
        pacer.sent(usize::MAX);
        pacer.pressed(start);
        assert_eq!(pacer.wait(start), ANSWER_GAP, "the answer to a key does not wait for it");
    }

    #[test]
    fn the_answer_to_a_key_is_not_kept_waiting() {
        let start = crate::clock::monotonic();
        let mut pacer = opened(REMOTE_GAP, start);
        pacer.pressed(start);
        assert_eq!(pacer.wait(start), ANSWER_GAP);
        assert_eq!(pacer.wait(start + 10 * MS), Duration::ZERO);
        pacer.drawn(start + 300 * MS);
        assert_eq!(pacer.wait(start + 300 * MS), REMOTE_GAP);
    }

    #[test]
    fn a_terminal_that_blocks_gets_fewer_frames_until_it_keeps_up() {
        let start = crate::clock::monotonic();
        let mut pacer = opened(REMOTE_GAP, start);
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
