//! Takes up a stream whose lines carry the time of their transport, without loss and without repeats.
//!
//! Container engines can be asked for everything since a time, and some of them cut that to a second. So
//! more than is needed is asked for, and lines that were heard before are told by what they are.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

/// So far back a stream is asked for again: lines of one pod may lag behind those of another, and a pod that
/// is new was noticed some seconds after its first line.
pub const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// Lines older than this before the newest are not asked for again. The seconds more are for cut times.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(33);
/// Lines remembered of one stream, each 24 bytes; a flood is told by its order.
const MAX_REMEMBERED: usize = 50_000;

/// Stands for the time of lines that have none and come before any that has one.
const NO_TIME: Timestamp = Timestamp::UNIX_EPOCH;

/// What is remembered of the end of a stream.
#[derive(Debug, Default)]
pub struct Seam {
    recent: VecDeque<(Timestamp, u64)>,
    newest: Option<Timestamp>,
    /// Lines up to here were heard and are no longer remembered.
    forgotten: Option<Timestamp>,
    /// The oldest time that the first connection gave: what is older was not wanted.
    floor: Option<Timestamp>,
    was_taken_up: bool,
    /// Since the stream was taken up, a line was recognised: what comes now is no older than the floor.
    is_recognised: bool,
    /// Since the stream was taken up: lines that may come once more, how often, and until when.
    repeats: HashMap<u64, u32>,
    repeats_until: Option<Timestamp>,
}

impl Seam {
    /// The time of the newest line.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// The stream is about to be asked for again, from [`MARGIN`] before its newest line on or earlier.
    pub fn take_up(&mut self) {
        if self.recent.is_empty() && self.newest.is_none() {
            return;
        }
        self.repeats.clear();
        for (_, hash) in &self.recent {
            *self.repeats.entry(*hash).or_default() += 1;
        }
        self.repeats_until = Some(self.newest.unwrap_or(NO_TIME));
        self.was_taken_up = true;
        self.is_recognised = false;
    }

    /// As [`Seam::is_new`] for a line without a time, which goes with the line before it, written `after`.
    pub fn is_new_untimed(&mut self, after: Option<Timestamp>, line: &[u8]) -> bool {
        self.is_new(after.unwrap_or(NO_TIME), line)
    }

    /// True when the line was not heard before; then it is remembered.
    pub fn is_new(&mut self, at: Timestamp, line: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        (at.as_nanosecond(), line).hash(&mut hasher);
        let hash = hasher.finish();
        if self.repeats_until.is_some_and(|until| at <= until) {
            if self.forgotten.is_some_and(|it| at <= it) {
                return false;
            }
            if let Some(count) = self.repeats.get_mut(&hash).filter(|it| **it > 0) {
                *count -= 1;
                self.is_recognised = true;
                return false;
            }
            // Of the first instant, what stands before the first line that was wanted is older than it.
            if self.floor.is_some_and(|it| at < it || at == it && !self.is_recognised) {
                return false;
            }
        }
        self.recent.push_back((at, hash));
        if at > NO_TIME {
            self.newest = Some(self.newest.map_or(at, |it| it.max(at)));
            if !self.was_taken_up {
                self.floor = Some(self.floor.map_or(at, |it| it.min(at)));
            }
        }
        while let Some((it, _)) = self.recent.front().copied() {
            let is_old = self.newest.is_some_and(|newest| newest.duration_since(it) > REMEMBERED);
            if !is_old && self.recent.len() <= MAX_REMEMBERED {
                break;
            }
            self.recent.pop_front();
            self.forgotten = Some(self.forgotten.map_or(it, |forgotten| forgotten.max(it)));
        }
        true
    }
}

/// Takes a line of a container engine apart: its time, that as text, and the message.
pub fn split(line: &[u8]) -> Option<(Timestamp, &[u8], &[u8])> {
    // `2024-05-06T07:08:09Z` is the shortest one.
    let end = memchr::memchr(b' ', &line[..line.len().min(40)]).unwrap_or(line.len().min(40));
    if end < 20 || !line[0].is_ascii_digit() {
        return None;
    }
    let text = &line[..end];
    let at = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some((at, text, line.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2024-05-06T07:08:{text}Z").parse().unwrap()
    }

    #[test]
    fn lines_of_one_instant_are_told_apart_by_what_they_say_and_how_often() {
        let mut seam = Seam::default();
        for line in ["a", "b", "b"] {
            assert!(seam.is_new(at("09.5"), line.as_bytes()));
        }
        seam.take_up();
        // Sent again, with two that were on their way when the connection was lost.
        let again = ["a", "b", "b", "b", "late"].map(|it| seam.is_new(at("09.5"), it.as_bytes()));
        assert_eq!(again, [false, false, false, true, true]);
        assert!(seam.is_new(at("10"), b"a"));
        // And once more: what came with the second connection is known as well.
        seam.take_up();
        let again = ["a", "b", "b", "b", "late"].map(|it| seam.is_new(at("09.5"), it.as_bytes()));
        assert_eq!(again, [false; 5]);
        assert!(!seam.is_new(at("10"), b"a"));
        assert!(seam.is_new(at("10"), b"a"), "twice in the same instant is two lines");
    }

    #[test]
    fn what_is_older_than_the_first_wanted_line_stays_out() {
        let mut seam = Seam::default();
        // The last three of many were asked for.
        for (time, line) in [("09.5", "18"), ("10", "19"), ("11", "20")] {
            assert!(seam.is_new(at(time), line.as_bytes()));
        }
        seam.take_up();
        let lines =
            [("08", "16"), ("09.5", "17"), ("09.5", "18"), ("09.5", "beside 18"), ("10", "19"), ("10.5", "late")];
        let again = lines.map(|(time, line)| seam.is_new(at(time), line.as_bytes()));
        assert_eq!(again, [false, false, false, true, false, true]);
    }

    #[test]
    fn lines_that_are_asked_for_again_from_long_before_are_no_repeats() {
        let mut seam = Seam::default();
        let minutes = |it: i64| at("00") + SignedDuration::from_mins(it);
        assert!((0..10).all(|it| seam.is_new(minutes(it), b"x")));
        seam.take_up();
        assert!(!(0..10).any(|it| seam.is_new(minutes(it), b"x")));
        assert!(seam.is_new(minutes(10), b"x"));
    }

    #[test]
    fn lines_without_a_time_are_told_apart_as_well() {
        let mut seam = Seam::default();
        assert!(seam.is_new_untimed(None, b"banner"));
        seam.take_up();
        assert!(!seam.is_new_untimed(None, b"banner"));
        assert!(seam.is_new(at("09"), b"a"));
        assert!(seam.is_new_untimed(Some(at("09")), b"rest of a"));
        seam.take_up();
        assert!(!seam.is_new_untimed(None, b"banner"));
        assert!(!seam.is_new(at("09"), b"a"));
        assert!(!seam.is_new_untimed(Some(at("09")), b"rest of a"));
        assert!(seam.is_new_untimed(Some(at("09")), b"more of a"));
    }

    #[test]
    fn a_flood_beyond_what_is_remembered_makes_no_repeats() {
        let mut seam = Seam::default();
        let lines: Vec<(Timestamp, String)> = (0..MAX_REMEMBERED + 500)
            .map(|it| (at("00") + SignedDuration::from_micros(i64::try_from(it).unwrap()), it.to_string()))
            .collect();
        assert!(lines.iter().all(|(at, line)| seam.is_new(*at, line.as_bytes())));
        seam.take_up();
        assert!(!lines.iter().any(|(at, line)| seam.is_new(*at, line.as_bytes())));
        assert!(seam.is_new(at("01"), b"next"));
    }

    #[test]
    fn times_of_container_engines_are_read() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let found = split(line.as_bytes())
                .map(|(at, _, rest)| (at.to_string(), String::from_utf8_lossy(rest).into_owned()));
            assert_eq!(found, expected.map(|(at, rest)| (at.to_string(), rest.to_string())), "{line}");
        };
        check("2024-05-06T07:08:09.123456789Z hello world", Some(("2024-05-06T07:08:09.123456789Z", "hello world")));
        check("2024-05-06T15:08:09.5+08:00 x", Some(("2024-05-06T07:08:09.5Z", "x")));
        check("2024-05-06T07:08:09Z ", Some(("2024-05-06T07:08:09Z", "")));
        check("2024-05-06T07:08:09Z", Some(("2024-05-06T07:08:09Z", "")));
        check("Error response from daemon: no such container", None);
        check("", None);
    }
}
