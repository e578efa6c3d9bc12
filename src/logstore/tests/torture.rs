//! Writers and rotators of all kinds against the tailer, a window and a stream, with numbered lines.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Bench, request, texts};
use crate::domain::log::Anchor;
use crate::domain::query::matcher::Matcher;
use crate::logstore::archive::Packing;
use crate::logstore::archive::tests::pack;
use crate::logstore::source::MAX_OLD_SEGMENTS;
use crate::logstore::stream::{Hold, Stream};
use crate::logstore::walk::Item;

/// What a writer, a rotator or the tailer does.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// Lines to the file at the path; it is made when it is not there.
    Append(usize),
    /// Lines to the file that was last rotated away, by a writer that still has it open.
    AppendToOld(usize),
    /// `a` becomes `a.1`, a new `a` is made.
    Rotate,
    /// `a` is copied to `a.1` and emptied.
    CopyTruncate,
    /// `a` is emptied.
    Truncate,
    /// `a` is emptied and at once longer than it was.
    Rewrite,
    /// `a` is deleted.
    Delete,
    /// `a.1` is packed.
    Compress,
    /// The tailer looks.
    Look,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (1_usize..30).prop_map(Move::Append),
        2 => (1_usize..10).prop_map(Move::AppendToOld),
        2 => Just(Move::Rotate),
        1 => Just(Move::CopyTruncate),
        1 => Just(Move::Truncate),
        1 => Just(Move::Rewrite),
        1 => Just(Move::Delete),
        1 => Just(Move::Compress),
        6 => Just(Move::Look),
    ];
    prop::collection::vec(one, 1..40)
}

/// One file that stood at the path, by its inode.
#[derive(Debug, Default, Clone)]
struct Generation {
    /// Numbers of its lines.
    lines: Vec<usize>,
    /// The tailer looked while it stood there.
    is_known: bool,
    /// It had lines when the tailer looked: an empty file is known by nothing.
    is_seen: bool,
    /// It can not be found any more by somebody who did not know it.
    is_hidden: bool,
    /// It lives on in a copy that the tailer has not seen yet.
    is_copied: bool,
}

/// The world as it is, beside what a reader sees of it.
struct World {
    bench: Bench,
    next: usize,
    /// Oldest first, the last one stands at the path when `is_there`.
    generations: Vec<Generation>,
    is_there: bool,
    /// Lines that were gone before anybody could have read them, or that a gap row stands for.
    excused: Vec<usize>,
    /// The file that the tailer knew is deleted. What came and went at the path since is told by its date alone,
    /// and these moves are faster than the ticks by which a kernel dates.
    is_known_gone: bool,
    /// Writers of the file at the path and of the one before.
    writer: Option<File>,
    old_writer: Option<File>,
}

impl World {
    fn new() -> Self {
        let bench = Bench::with("a", b"");
        let writer = OpenOptions::new().append(true).open(bench.path("a")).ok();
        let generations = vec![Generation { is_known: true, ..Generation::default() }];
        Self {
            bench,
            next: 0,
            generations,
            is_there: true,
            excused: Vec::new(),
            is_known_gone: false,
            writer,
            old_writer: None,
        }
    }

    fn lines(&mut self, count: usize) -> (Vec<usize>, String) {
        let numbers: Vec<usize> = (self.next..self.next + count).collect();
        self.next += count;
        // Of all lengths, so that two files are hardly ever equally long.
        let text = numbers.iter().map(|it| format!("line {it} {}\n", "x".repeat(it * 37 % 101))).collect();
        (numbers, text)
    }

    fn newest(&mut self) -> &mut Generation {
        self.generations.last_mut().expect("there is always one")
    }

    /// Makes room for another `a.1`.
    fn shift(&self) {
        for number in (1..12).rev() {
            for ending in ["", ".gz"] {
                let name = |number| self.bench.path(&format!("a.{number}{ending}"));
                let _ = fs::rename(name(number), name(number + 1));
            }
        }
    }

    fn make(&mut self) {
        self.writer = OpenOptions::new().append(true).create(true).open(self.bench.path("a")).ok();
        if !self.is_there {
            self.generations.push(Generation::default());
        }
        self.is_there = true;
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Append(count) => {
                self.make();
                let (numbers, text) = self.lines(count);
                self.writer.as_mut().expect("open").write_all(text.as_bytes()).expect("written");
                self.newest().lines.extend(numbers);
            }
            Move::AppendToOld(count) => {
                let Some(old) = self.generations.len().checked_sub(1 + usize::from(self.is_there)) else { return };
                // Nobody finds what is written to a file that is gone, and no copy has it.
                if self.old_writer.is_none() || !self.generations[old].is_known {
                    return;
                }
                let (numbers, text) = self.lines(count);
                self.old_writer.as_mut().expect("open").write_all(text.as_bytes()).expect("written");
                self.generations[old].lines.extend(numbers);
            }
            Move::Rotate if self.is_there => {
                let is_known_gone = self.is_known_gone;
                self.newest().is_hidden |= is_known_gone && !self.newest().is_known;
                self.shift();
                fs::rename(self.bench.path("a"), self.bench.path("a.1")).expect("renamed");
                self.old_writer = self.writer.take();
                self.is_there = false;
                self.make();
            }
            Move::CopyTruncate if self.is_there => {
                self.shift();
                fs::copy(self.bench.path("a"), self.bench.path("a.1")).expect("copied");
                self.empty();
                if !self.newest().is_seen {
                    let unknown = std::mem::take(&mut self.newest().lines);
                    self.excused.extend(unknown);
                }
                // The copy is another file; the one that was emptied goes on.
                self.newest().is_copied = true;
                let is_known = self.newest().is_known;
                self.generations.push(Generation { is_known, ..Generation::default() });
                self.old_writer = None;
            }
            Move::Truncate if self.is_there => {
                let gone = std::mem::take(&mut self.newest().lines);
                self.excused.extend(gone);
                self.newest().is_seen = false;
                self.empty();
            }
            Move::Rewrite if self.is_there => {
                let gone = std::mem::take(&mut self.newest().lines);
                let (numbers, text) = self.lines(gone.len() + 3);
                self.excused.extend(gone);
                fs::write(self.bench.path("a"), text + &"line\n".repeat(40)).expect("written");
                self.newest().lines.extend(numbers);
                self.newest().is_seen = false;
            }
            Move::Delete if self.is_there => {
                let _ = fs::remove_file(self.bench.path("a"));
                self.is_known_gone |= self.newest().is_known;
                self.newest().is_hidden = true;
                self.old_writer = self.writer.take();
                self.is_there = false;
            }
            Move::Compress => {
                let (plain, packed) = (self.bench.path("a.1"), self.bench.path("a.1.gz"));
                let Ok(text) = fs::read(&plain) else { return };
                fs::write(&packed, pack(Packing::Gzip, &text)).expect("packed");
                let _ = fs::remove_file(plain);
                // Which generation it was: the newest one that was rotated and is not hidden.
                let rotated = self.generations.len() - usize::from(self.is_there);
                if let Some(it) = self.generations[..rotated].iter_mut().rev().find(|it| !it.is_hidden) {
                    it.is_hidden = true;
                    // Emptied at one end and packed at the other, both between two looks: a row says so.
                    if it.is_copied {
                        self.excused.append(&mut it.lines);
                    }
                }
                self.old_writer = None;
            }
            Move::Look => {
                self.bench.look();
                self.is_known_gone &= !self.is_there;
                for generation in &mut self.generations {
                    generation.is_copied = false;
                    if !generation.is_known && generation.is_hidden {
                        self.excused.append(&mut generation.lines);
                        continue;
                    }
                    generation.is_known = true;
                    generation.is_seen |= !generation.lines.is_empty();
                }
            }
            Move::Rotate | Move::CopyTruncate | Move::Truncate | Move::Rewrite | Move::Delete => {}
        }
    }

    fn empty(&mut self) {
        let file = OpenOptions::new().write(true).open(self.bench.path("a")).expect("open");
        file.set_len(0).expect("emptied");
    }
}

/// The number of a numbered line.
fn number(text: &str) -> Option<usize> {
    text.strip_prefix("line ")?.split(' ').next()?.parse().ok()
}

fn check(moves: &[Move]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    let engine = world.bench.engine.clone();
    let mut stream = Stream::new(&engine, Matcher::default(), 0);
    let mut printed: Vec<String> = Vec::new();
    let mut rotations = 0;
    for step in moves.iter().chain([&Move::Look]) {
        let rotates = matches!(step, Move::Rotate | Move::CopyTruncate | Move::Delete);
        rotations += usize::from(rotates);
        // More are let go, which is another test.
        if rotates && rotations > MAX_OLD_SEGMENTS {
            continue;
        }
        world.play(*step);
        if matches!(step, Move::Look) {
            let mut take = |met: &crate::logstore::stream::Met<'_>| {
                if let Item::Record(_) = &met.placed.item {
                    printed.push(String::from_utf8_lossy(met.bytes()).trim_end().to_string());
                }
                Ok(())
            };
            stream.advance(Hold::Line, &mut take).expect("taken");
        }
    }
    let rows = texts(&world.bench.ask(request("", Anchor::Tail, 2000, 0)));
    for (what, shown) in [("window", &rows), ("stream", &printed)] {
        let mut times: HashMap<usize, usize> = HashMap::new();
        for number in shown.iter().filter_map(|it| number(it)) {
            *times.entry(number).or_default() += 1;
        }
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).map(|(number, _)| number).collect();
        prop_assert!(twice.is_empty(), "{what}: shown twice: {twice:?} in {rows:?}");
        for generation in &world.generations {
            let missing: Vec<_> = generation.lines.iter().filter(|it| !times.contains_key(it)).collect();
            prop_assert!(missing.is_empty(), "{what}: missing {missing:?} of {generation:?} in {rows:?}");
        }
    }
    let is_gone = |it: &usize| !rows.iter().any(|row| number(row) == Some(*it));
    let seen: Vec<usize> = printed.iter().filter_map(|it| number(it)).collect();
    let lost = world.excused.iter().find(|it| seen.contains(it) && is_gone(it));
    let says = rows.iter().any(|it| it.starts_with("Truncated"));
    prop_assert!(lost.is_none() || says, "line {lost:?} went without a word: {rows:?}");
    Ok(())
}

fn config() -> ProptestConfig {
    match std::env::var("HOTSEAT_TORTURE").ok().and_then(|it| it.parse().ok()) {
        Some(cases) => ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) },
        None => ProptestConfig { rng_seed: RngSeed::Fixed(819), ..ProptestConfig::with_cases(64) },
    }
}

proptest! {
    // Always the same sequences, unless more are asked for by `HOTSEAT_TORTURE`: so many, and others every time.
    #![proptest_config(config())]

    /// Every line is shown once, or was gone before anybody could read it, or a gap row says so.
    #[test]
    fn the_tailer_agrees_with_a_model(moves in moves()) {
        check(&moves)?;
    }
}

/// Cases that were hard once.
#[test]
fn what_happens_between_two_looks_is_found() {
    use Move::{Append, AppendToOld, Compress, CopyTruncate, Delete, Look, Rewrite, Rotate, Truncate};
    let cases: &[&[Move]] = &[
        &[Append(3), Look, Rotate, Append(3), Rotate, Append(3)],
        &[Append(3), Look, Append(2), CopyTruncate, Append(3)],
        &[Append(3), Look, CopyTruncate, Append(3), CopyTruncate, Append(3)],
        &[Append(3), Look, Rotate, Compress, Append(3), Look, Append(1)],
        &[Append(3), Look, Rotate, Append(3), Look, AppendToOld(3), Look, Append(2), Look],
        &[Append(3), Look, Rotate, Append(3), Look, Truncate, Append(3), Look, Append(1)],
        &[Append(3), Look, Rotate, Truncate, Append(3)],
        &[Append(3), Look, Delete, Append(3), Look, Append(1)],
        &[Append(3), Look, Delete, Look, Append(3), Look],
        &[Append(9), Look, Rewrite, Look, Append(2)],
        &[Append(9), Look, Rotate, Rotate, Compress, Append(1), Look],
        &[Append(3), Look, Rotate, Append(3), AppendToOld(2), Rotate, Append(1), Look],
        &[Append(1), Look, Truncate, Rotate, Rotate, Look, AppendToOld(1)],
    ];
    for moves in cases {
        check(moves).unwrap_or_else(|error| panic!("{moves:?}: {error}"));
    }
}

#[test]
fn what_is_let_go_after_many_rotations_is_said() {
    let mut world = World::new();
    for _ in 0..MAX_OLD_SEGMENTS + 3 {
        for step in [Move::Append(4), Move::Look, Move::Rotate, Move::Look] {
            world.play(step);
        }
    }
    let rows = texts(&world.bench.ask(request("", Anchor::Tail, 2000, 0)));
    assert!(rows[0].contains("of older rotated files were let go"), "{rows:?}");
    assert_eq!(rows.iter().filter_map(|it| number(it)).count(), 4 * MAX_OLD_SEGMENTS);
}
