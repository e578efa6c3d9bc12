//! What the loop does per event, without a terminal and without I/O: fold, update, draw, diff.
//!
//! `cargo bench --bench loop [-- NAME…]` runs all or the named ones: `update`, `board`, `view`, `line`.
//! Figures are those of the fastest batch, because neighbours on the machine only ever add to them.

mod measure;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Duration;

use hotseat::agent::codec;
use hotseat::agent::protocol::{INBOUND_MAX_BYTES, ToScreen};
use hotseat::app::event::Event;
use hotseat::app::view::view;
use hotseat::clock;
use hotseat::domain::board::Board;
use hotseat::domain::fact::{Actor, Envelope, Fact};
use hotseat::domain::ids::{HostId, ProbeId, SourceId};
use hotseat::domain::key::Key;
use hotseat::domain::log::{Counts, Cursor, Level, LogFact, Position, Record, Row, Window, WindowRequest};
use hotseat::domain::probe::health::Thresholds;
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phase, Phases, ProbeResult, Trouble};
use hotseat::domain::probe::{ProbeFact, ProbeSetup};
use hotseat::domain::request::Inbound;
use hotseat::tui::capabilities::{ColorDepth, Glyphs};
use hotseat::tui::draw::Painter;
use jiff::{SignedDuration, Timestamp};
use measure::{each, report, time};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use support::screen::{self, Desk};

/// Probes of a large config.
const PROBES: usize = 1000;
/// Sizes that are designed for.
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];
const BATCHES: usize = 15;

fn main() {
    measure::run(&[("update", update), ("board", board), ("view", views), ("line", line)]);
}

/// `Model::update` by kind of event.
fn update() {
    for (width, height) in SIZES {
        for (what, probes) in [("15 probes", 0), ("1,000 probes", PROBES)] {
            let name = |event: &str| format!("update, {event}, {what}, {width}x{height}");
            let mut desk = desk(width, height, probes);
            let now = desk.now;
            let mut down = false;
            let key = each(
                BATCHES,
                500,
                || (),
                |()| {
                    down = !down;
                    desk.model.update(now, Event::Key(Key::char(if down { 'j' } else { 'k' })));
                },
            );
            report(&name("a key in services"), &time(key));
            let mut round = 0;
            let outcomes = || {
                round += 1;
                inbound(round, outcome_fact(round, probes.max(1)))
            };
            let fact = each(BATCHES, 500, outcomes, |event| drop(desk.model.update(now, event)));
            report(&name("a probe's outcome"), &time(fact));
            let grew = || {
                let fact = LogFact::Grew { source: SourceId::new(&host(), "edge"), size_bytes: 91_234_999 };
                inbound(1, Fact::Log(fact))
            };
            let fact = each(BATCHES, 500, grew, |event| drop(desk.model.update(now, event)));
            report(&name("a log grew"), &time(fact));
            let request = desk.asked.clone().expect("the logs pane asks for rows");
            let windows = || Event::Inbound(Inbound::Window(Box::new(window(&request, 5000))));
            let window = each(BATCHES, 50, windows, |event| drop(desk.model.update(now, event)));
            report(&name("a window of log rows"), &time(window));
        }
    }
}

/// `Board::apply` and what a snapshot costs, with 1,000 probes whose histories are full.
fn board() {
    let mut board = Board::default();
    let mut seq = 0;
    let mut apply = |board: &mut Board, fact: Fact| {
        seq += 1;
        board.apply(start(), &Envelope { host: host(), seq, at: start(), actor: Actor::Runtime, fact })
    };
    for number in 0..PROBES {
        apply(&mut board, configured(number));
    }
    for round in 0..PROBES as u64 * 60 {
        apply(&mut board, outcome_fact(round, PROBES));
    }
    let mut round = 0;
    let facts = || {
        round += 1;
        outcome_fact(round, PROBES)
    };
    let outcome = each(BATCHES, 5000, facts, |fact| drop(apply(&mut board, fact)));
    report("Board::apply, an outcome, 1,000 probes", &time(outcome));
    let cloned = each(5, 5, || (), |()| drop(std::hint::black_box(board.clone())));
    report("a snapshot of the board, 1,000 probes of 60 outcomes", &time(cloned));
    // What a screen that attaches waits for, besides the way.
    let frame = ToScreen::Inbound(Box::new(Inbound::Snapshot(Box::new(board))));
    let said = codec::encode(&frame, INBOUND_MAX_BYTES).expect("it fits in a line");
    let encoded = each(5, 3, || (), |()| drop(std::hint::black_box(codec::encode(&frame, INBOUND_MAX_BYTES))));
    report("that snapshot to a line of the wire", &time(encoded));
    let heard = each(5, 3, || (), |()| drop(std::hint::black_box(codec::decode::<ToScreen>(&said))));
    report("and back", &time(heard));
    report("its bytes", &format!("{} ({} a probe)", said.len(), said.len() / PROBES));
}

/// The picture into a buffer.
fn views() {
    for (width, height) in SIZES {
        for (what, probes) in [("15 probes", 0), ("1,000 probes", PROBES)] {
            let mut desk = desk(width, height, probes);
            let request = desk.asked.clone().expect("the logs pane asks for rows");
            let rows = Event::Inbound(Inbound::Window(Box::new(window(&request, 5000))));
            desk.model.update(desk.now, rows);
            let area = Rect::new(0, 0, width, height);
            let mut buf = Buffer::empty(area);
            let took = each(
                BATCHES,
                50,
                || (),
                |()| {
                    buf.reset();
                    view(&desk.model, desk.model.theme(), area, &mut buf);
                },
            );
            report(&format!("view, {what}, {width}x{height}"), &time(took));
        }
    }
}

/// A log that grows by one line a frame: update, picture, difference, bytes.
fn line() {
    const FRAMES: u64 = 500;
    for (width, height) in SIZES {
        let mut desk = desk(width, height, 0);
        let request = desk.asked.clone().expect("the logs pane asks for rows");
        let mut painter = Painter::new(width, height, ColorDepth::True, Glyphs::Unicode);
        let mut out = Vec::new();
        let (mut updating, mut painting, mut drawing, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for frame in 0..FRAMES {
            let event = Event::Inbound(Inbound::Window(Box::new(window(&request, 5000 + frame))));
            let start_of_update = clock::monotonic();
            desk.model.update(desk.now, event);
            updating.push(start_of_update.elapsed());
            out.clear();
            let start_of_frame = clock::monotonic();
            painter.frame(&mut out, |area, buf| view(&desk.model, desk.model.theme(), area, buf).cursor);
            painting.push(start_of_frame.elapsed());
            let area = Rect::new(0, 0, width, height);
            let mut buf = Buffer::empty(area);
            let start_of_view = clock::monotonic();
            view(&desk.model, desk.model.theme(), area, &mut buf);
            drawing.push(start_of_view.elapsed());
            if frame > 0 {
                bytes.push(out.len());
            }
        }
        bytes.sort_unstable();
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            time(measure::share(&times, 0.5))
        };
        report(
            &format!("one line more, {width}x{height}"),
            &format!(
                "update {}, view and diff {} (view alone {}), {} bytes, at most {}",
                median(updating),
                median(painting),
                median(drawing),
                measure::share(&bytes, 0.5),
                measure::share(&bytes, 1.0),
            ),
        );
    }
}

/// The outage, with so many probes beside its own.
fn desk(width: u16, height: u16, probes: usize) -> Desk {
    let mut desk = Desk::outage(width, height);
    for number in 0..probes {
        desk.fact(configured(number));
    }
    for round in 0..probes as u64 * 60 {
        desk.fact(outcome_fact(round, probes));
    }
    desk
}

/// The answer: as many rows as were asked for, the last with this number.
fn window(request: &WindowRequest, last: u64) -> Window {
    let count = u64::from(request.before + request.after);
    let rows = (last + 1 - count..=last).map(|number| Row::Record(record(number))).collect();
    Window {
        rows: Some(rows),
        at_tail: true,
        counts: Counts { matched: last, scanned: last, scanned_bytes: 1, total_bytes: 1, complete: true },
        ..Window::answering(request)
    }
}

fn record(number: u64) -> Record {
    let levels = [Level::Info, Level::Info, Level::Warn, Level::Info, Level::Error];
    let level = levels[number as usize % levels.len()];
    let time = start() + SignedDuration::from_millis(number as i64 * 20);
    let word = format!("{level:?}").to_uppercase();
    let line = format!("{time:.3} {word} pool exhausted (64/64) waiting={} req={:08x}", number % 977, number * 7919);
    Record {
        level: Some(level),
        time_span: Some(0..24),
        length_bytes: line.len() as u64,
        ..Record::new(
            Position {
                time: Some(time),
                source: SourceId::new(&host(), "edge"),
                cursor: Cursor::File { segment: 0, device: 1, inode: 1, offset: number * 100 },
            },
            vec![line],
        )
    }
}

fn host() -> HostId {
    HostId::new("bastion")
}

fn start() -> Timestamp {
    screen::at("14:40:00")
}

fn probe(number: usize) -> ProbeId {
    ProbeId::new(&host(), &format!("probe-{number:04}"))
}

fn inbound(seq: u64, fact: Fact) -> Event {
    let envelope = Envelope { host: host(), seq, at: start(), actor: Actor::Runtime, fact };
    Event::Inbound(Inbound::Fact(Box::new(envelope)))
}

fn configured(number: usize) -> Fact {
    let setup = ProbeSetup {
        kind: "http".into(),
        target: format!("http://probe-{number:04}.internal/health"),
        interval: Duration::from_secs(30),
        retry: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        thresholds: Thresholds::default(),
        expect: vec!["status == 200".into()],
        prefer: Vec::new(),
        rules: Default::default(),
    };
    Fact::Probe(ProbeFact::Configured { probe: probe(number), setup })
}

/// Outcomes go round the probes; every tenth probe fails.
fn outcome_fact(round: u64, probes: usize) -> Fact {
    let number = round as usize % probes;
    let fails = number % 10 == 3;
    let mut phases = Phases::default();
    phases.add(Phase::Connect, Duration::from_millis(1));
    phases.add(Phase::Wait, Duration::from_millis(12 + round * 7 % 90));
    let trouble = Trouble::new(Cause::Refused, "refused", "refused: nothing listens on 10.0.3.7:9000");
    let outcome = Outcome {
        at: start() + SignedDuration::from_millis(round as i64 * 30),
        result: if fails { ProbeResult::Fail } else { ProbeResult::Ok },
        phases,
        trouble: fails.then_some(trouble),
        evidence: Evidence::default(),
        lag: Duration::ZERO,
        latency_suspect: false,
    };
    Fact::Probe(ProbeFact::Outcome { probe: probe(number), outcome: Box::new(outcome), next: Some(start()) })
}
