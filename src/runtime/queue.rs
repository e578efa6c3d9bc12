//! What waits for one attached screen. Bounded, and never in the way of the runtime.
//!
//! The runtime puts things in without waiting; a pump takes them out as fast as the screen reads. When a
//! screen is slow, facts past the bound are thrown away and it gets a fresh snapshot instead; of the
//! windows of one view only the newest is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::board::Board;
use crate::domain::fact::Envelope;
use crate::domain::ids::ProbeId;
use crate::domain::log::Window;
use crate::domain::request::Inbound;

/// Facts that wait for a screen; past that a snapshot is shorter.
const FACTS_MAX: usize = 256;
/// Answers (`Done`, `Failed`, documents) that wait for a screen: as many as requests can wait, with how each ended.
const ANSWERS_MAX: usize = 128;
/// Views of one screen whose windows wait; a screen has a handful.
const VIEWS_MAX: usize = 32;

/// How long a screen waits at most for facts that were announced. A disk that hangs must not keep it dark.
const ANNOUNCED_WAIT: Duration = Duration::from_secs(1);

/// What waits for one screen.
pub struct LinkQueue {
    state: Mutex<State>,
    news: Notify,
    /// A snapshot is shortened: what it leaves out follows piece by piece, so that the first screen and what is new
    /// never wait for it.
    glimpses: bool,
}

struct State {
    /// The screen has no board yet or missed facts.
    needs_snapshot: bool,
    /// Probes of whose past outcomes the screen has only glimpses.
    unfilled: VecDeque<ProbeId>,
    facts: VecDeque<Envelope>,
    /// Facts thrown away since the last snapshot.
    missed: u64,
    answers: VecDeque<Inbound>,
    windows: VecDeque<Window>,
    closed: bool,
}

enum Next {
    Snapshot,
    /// The outcomes of a probe, as they are now.
    Outcomes(ProbeId),
    Inbound(Inbound),
}

impl LinkQueue {
    /// Makes the queue of a screen that has nothing yet: a snapshot comes first.
    pub fn new() -> Self {
        let state = State {
            needs_snapshot: true,
            unfilled: VecDeque::new(),
            facts: VecDeque::new(),
            missed: 0,
            answers: VecDeque::new(),
            windows: VecDeque::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), news: Notify::new(), glimpses: false }
    }

    /// As [`LinkQueue::new`], for a screen that takes glimpses of past outcomes.
    pub fn with_glimpses() -> Self {
        Self { glimpses: true, ..Self::new() }
    }

    /// Puts a fact in; `false` when the screen is gone.
    pub fn push_fact(&self, envelope: &Envelope) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        if !state.needs_snapshot {
            if state.facts.len() < FACTS_MAX {
                state.facts.push_back(envelope.clone());
            } else {
                state.missed += state.facts.len() as u64 + 1;
                state.facts.clear();
                state.needs_snapshot = true;
            }
        } else if state.missed > 0 {
            state.missed += 1;
        }
        drop(state);
        self.news.notify_one();
        true
    }

    /// Puts an answer in; `false` when the screen is gone.
    pub fn push_answer(&self, inbound: Inbound) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        match inbound {
            Inbound::Window(window) => state.put_window(*window),
            other => {
                if state.answers.len() == ANSWERS_MAX {
                    // What a person wrote comes back in some; those are the last to go.
                    let is_less = |it: &Inbound| !matches!(it, Inbound::Refused { .. } | Inbound::Settled(_));
                    let least = state.answers.iter().position(is_less).unwrap_or(0);
                    state.answers.remove(least);
                }
                state.answers.push_back(other);
            }
        }
        drop(state);
        self.news.notify_one();
        true
    }

    /// Has a snapshot be next; the facts that wait are in it.
    pub fn ask_snapshot(&self) {
        self.lock().begin_anew();
        self.news.notify_one();
    }

    /// Carries what waits to the screen until it goes or `finished`; then delivers what still fits and closes.
    ///
    /// While facts are announced the board is only half of what it is about to be: the screen gets it whole, once all of
    /// them are there.
    pub async fn pump(
        self: Arc<Self>,
        board: Arc<Mutex<Board>>,
        tx: mpsc::Sender<Inbound>,
        mut announced_rx: watch::Receiver<usize>,
        finished: CancellationToken,
    ) {
        // Facts up to here are in the snapshot that was sent.
        let mut sent_seq = 0;
        let mut hold = Hold::No;
        'screen: loop {
            // Room first: what waits for it can still be replaced by something newer.
            let permit = tokio::select! {
                biased;
                permit = tx.reserve() => permit,
                () = finished.cancelled() => break,
            };
            let Ok(permit) = permit else { break };
            let next = loop {
                let was = hold;
                hold = hold.next(*announced_rx.borrow_and_update());
                if matches!((was, hold), (Hold::Until(_), Hold::No | Hold::Over)) {
                    self.lock().begin_anew();
                }
                if let Some(next) = self.take(sent_seq, matches!(hold, Hold::Until(_))) {
                    break next;
                }
                tokio::select! {
                    biased;
                    () = self.news.notified() => {}
                    () = tx.closed() => break 'screen,
                    () = finished.cancelled() => break 'screen,
                    () = hold.changed(&mut announced_rx) => {}
                }
            };
            permit.send(match next {
                Next::Inbound(inbound) => inbound,
                Next::Snapshot => {
                    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    sent_seq = board.seq;
                    if self.glimpses {
                        board.probes.shorten();
                        let shortened = board.probes.iter().filter(|(_, it)| !it.glimpses.is_empty());
                        self.lock().unfilled = shortened.map(|(probe, _)| probe.clone()).collect();
                    }
                    Inbound::Snapshot(Box::new(board))
                }
                Next::Outcomes(probe) => {
                    let board = board.lock().unwrap_or_else(PoisonError::into_inner);
                    let outcomes = board.probes.get(&probe).map(|it| it.outcomes.iter().cloned().collect());
                    Inbound::Outcomes { outcomes: outcomes.unwrap_or_default(), probe }
                }
            });
        }
        while let Some(Next::Inbound(inbound)) = self.take(sent_seq, false) {
            if tx.try_send(inbound).is_err() {
                break;
            }
        }
        self.lock().closed = true;
    }

    /// What is next; `is_held`: neither boards nor facts.
    fn take(&self, sent_seq: u64, is_held: bool) -> Option<Next> {
        let mut state = self.lock();
        if is_held && state.needs_snapshot {
            // What is answered comes behind it.
            return None;
        }
        let facts = std::mem::take(&mut state.missed);
        if facts > 0 {
            return Some(Next::Inbound(Inbound::Missed { facts }));
        }
        if std::mem::take(&mut state.needs_snapshot) {
            return Some(Next::Snapshot);
        }
        if let Some(answer) = state.answers.pop_front() {
            return Some(Next::Inbound(answer));
        }
        if let Some(window) = state.windows.pop_front() {
            return Some(Next::Inbound(Inbound::Window(Box::new(window))));
        }
        if is_held {
            return None;
        }
        while let Some(envelope) = state.facts.pop_front() {
            if envelope.seq > sent_seq {
                return Some(Next::Inbound(Inbound::Fact(Box::new(envelope))));
            }
        }
        state.unfilled.pop_front().map(Next::Outcomes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether facts are held back until all that were announced are there.
#[derive(Debug, Clone, Copy)]
enum Hold {
    No,
    Until(Instant),
    /// They took too long: everything is told as it comes.
    Over,
}

impl Hold {
    fn next(self, announced: usize) -> Self {
        match self {
            _ if announced == 0 => Self::No,
            Self::No => Self::Until(clock::timer() + ANNOUNCED_WAIT),
            Self::Until(until) if until <= clock::timer() => Self::Over,
            it => it,
        }
    }

    /// Returns when fewer or more are announced, or when these are waited for no longer.
    async fn changed(self, announced_rx: &mut watch::Receiver<usize>) {
        let changed = async {
            if announced_rx.changed().await.is_err() {
                // Nobody announces any more.
                std::future::pending::<()>().await;
            }
        };
        match self {
            // Either way it is looked at again.
            Self::Until(until) => {
                let _ = timeout_at(until, changed).await;
            }
            Self::No | Self::Over => changed.await,
        }
    }
}

impl State {
    /// Has a snapshot be next; what waits is in it, so nothing was missed.
    fn begin_anew(&mut self) {
        self.facts.clear();
        self.missed = 0;
        self.needs_snapshot = true;
    }

    fn put_window(&mut self, window: Window) {
        let Some(waiting) = self.windows.iter_mut().find(|it| it.view == window.view) else {
            if self.windows.len() == VIEWS_MAX {
                self.windows.pop_front();
            }
            self.windows.push_back(window);
            return;
        };
        if window.generation < waiting.generation {
            return;
        }
        if window.rows.is_none() && window.generation == waiting.generation {
            // Only the counts are news; the rows that wait have not been seen yet.
            waiting.counts = window.counts;
        } else {
            *waiting = window;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::fact::{Actor, Fact, RuntimeFact};
    use crate::domain::ids::HostId;
    use crate::domain::log::{Counts, Gap, GapKind, Position, Row, ViewId};
    use crate::domain::probe::ProbeFact;
    use crate::domain::probe::outcome::{Evidence, Outcome, Phases, ProbeResult};
    use crate::domain::{ids::SourceId, log::Cursor};
    use crate::service::FactSender;

    fn unannounced() -> watch::Receiver<usize> {
        watch::channel(0).1
    }

    fn window(generation: u64, rows: Option<usize>, matched: u64) -> Inbound {
        let source = SourceId::new(&HostId::new("h"), "s");
        let position = Position { time: None, source, cursor: Cursor::Store { nanos: 0, tie: String::new() } };
        let row = Row::Gap(Gap { position, kind: GapKind::Ended });
        Inbound::Window(Box::new(Window {
            view: ViewId(1),
            generation,
            rows: rows.map(|count| vec![row; count]),
            anchor_row: None,
            at_head: true,
            at_tail: true,
            missing: None,
            counts: Counts { matched, ..Counts::default() },
            query_error: None,
            chip_counts: Vec::new(),
            histogram: None,
            without: None,
        }))
    }

    fn waiting(inbounds: Vec<Inbound>) -> (u64, Option<usize>, u64) {
        let queue = LinkQueue::new();
        queue.lock().needs_snapshot = false;
        for inbound in inbounds {
            assert!(queue.push_answer(inbound));
        }
        let Some(Next::Inbound(Inbound::Window(window))) = queue.take(0, false) else { panic!("a window waits") };
        assert!(queue.take(0, false).is_none(), "one window a view waits");
        (window.generation, window.rows.map(|it| it.len()), window.counts.matched)
    }

    #[test]
    fn the_newest_window_of_a_view_wins() {
        assert_eq!(waiting(vec![window(1, Some(3), 1), window(2, Some(5), 2)]), (2, Some(5), 2));
        assert_eq!(waiting(vec![window(2, Some(5), 2), window(1, Some(3), 1)]), (2, Some(5), 2));
    }

    #[test]
    fn fresh_counts_do_not_lose_the_rows_that_wait() {
        assert_eq!(waiting(vec![window(1, Some(3), 1), window(1, None, 9)]), (1, Some(3), 9));
        assert_eq!(waiting(vec![window(1, Some(3), 1), window(2, None, 9)]), (2, None, 9));
    }

    fn envelope(seq: u64) -> Envelope {
        Envelope {
            host: HostId::new("h"),
            seq,
            at: Timestamp::UNIX_EPOCH,
            actor: Actor::Runtime,
            fact: Fact::Runtime(RuntimeFact::Active),
        }
    }

    #[tokio::test]
    async fn past_outcomes_come_behind_everything_else() {
        let mut board = Board::default();
        let probe = ProbeId::new(&HostId::new("h"), "a");
        let setup = serde_json::json!({"kind": "tcp", "target": "b:1", "interval": {"secs": 1, "nanos": 0},
            "retry": {"secs": 1, "nanos": 0}, "timeout": {"secs": 1, "nanos": 0}, "expect": [], "prefer": [],
            "thresholds": {"fail": {"k": 2, "n": 3}, "recover": {"k": 2, "n": 2}}});
        let setup = serde_json::from_value(setup).expect("a setup");
        let outcome = |second| ProbeFact::Outcome {
            probe: probe.clone(),
            outcome: Box::new(Outcome {
                at: Timestamp::from_second(second).expect("a time"),
                result: ProbeResult::Ok,
                phases: Phases::default(),
                trouble: None,
                evidence: Evidence::default(),
                lag: Duration::ZERO,
                latency_suspect: false,
            }),
            next: None,
        };
        let facts = [ProbeFact::Configured { probe: probe.clone(), setup }, outcome(1), outcome(2), outcome(3)];
        let fact = |(seq, fact)| Envelope { fact: Fact::Probe(fact), ..envelope(seq) };
        let envelopes: Vec<Envelope> = (1..).zip(facts).map(fact).collect();
        for it in &envelopes {
            board.apply(it.at, it);
        }
        let whole = board.clone();
        let board = Arc::new(Mutex::new(board));
        for glimpses in [true, false] {
            let queue = Arc::new(if glimpses { LinkQueue::with_glimpses() } else { LinkQueue::new() });
            assert!(queue.push_answer(Inbound::Done("x".into())));
            let (tx, mut rx) = mpsc::channel(1);
            let pump =
                tokio::spawn(Arc::clone(&queue).pump(Arc::clone(&board), tx, unannounced(), CancellationToken::new()));
            let Some(Inbound::Snapshot(mut board)) = rx.recv().await else { panic!("first a snapshot") };
            assert_eq!(*board == whole, !glimpses);
            let Some(Inbound::Done(_)) = rx.recv().await else { panic!("then what waits") };
            if glimpses {
                let Some(Inbound::Outcomes { probe, outcomes }) = rx.recv().await else { panic!("then the rest") };
                board.probes.fill(&probe, &outcomes);
            }
            assert_eq!(*board, whole);
            drop(rx);
            pump.await.expect("pump");
        }
    }

    #[tokio::test]
    async fn a_screen_that_missed_facts_gets_a_snapshot_and_then_only_newer_facts() {
        let board = Arc::new(Mutex::new(Board::default()));
        let queue = Arc::new(LinkQueue::new());
        let (tx, mut rx) = mpsc::channel(1);
        let finished = CancellationToken::new();
        let last = 3 * FACTS_MAX as u64;
        for seq in 1..=last {
            board.lock().expect("board").apply(Timestamp::UNIX_EPOCH, &envelope(seq));
            queue.lock().needs_snapshot = false;
            assert!(queue.push_fact(&envelope(seq)));
        }
        queue.lock().needs_snapshot = true;
        let pump = tokio::spawn(Arc::clone(&queue).pump(Arc::clone(&board), tx, unannounced(), finished.clone()));
        let Some(Inbound::Missed { facts }) = rx.recv().await else { panic!("first what was missed") };
        assert_eq!(facts, 2 * (FACTS_MAX as u64 + 1), "twice what waited, and the fact that found no room");
        let Some(Inbound::Snapshot(snapshot)) = rx.recv().await else { panic!("then a snapshot") };
        assert_eq!(snapshot.seq, last);
        assert!(queue.push_fact(&envelope(last + 1)));
        let Some(Inbound::Fact(fact)) = rx.recv().await else { panic!("then a fact") };
        assert_eq!(fact.seq, last + 1, "what the snapshot holds is not sent again");
        drop(rx);
        pump.await.expect("pump");
        assert!(!queue.push_fact(&envelope(last + 2)), "a screen that is gone takes nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_announced_is_told_at_once_and_answers_go_on_meanwhile() {
        let board = Arc::new(Mutex::new(Board::default()));
        let queue = Arc::new(LinkQueue::new());
        let (facts, _facts_rx) = FactSender::channel();
        let (tx, mut rx) = mpsc::channel(8);
        let pump = Arc::clone(&queue).pump(Arc::clone(&board), tx, facts.announced(), CancellationToken::new());
        let pump = tokio::spawn(pump);
        let Some(Inbound::Snapshot(_)) = rx.recv().await else { panic!("first a snapshot") };
        let last = 2 * FACTS_MAX as u64;
        facts.announce(usize::try_from(last).expect("small"));
        for seq in 1..=last {
            board.lock().expect("board").apply(Timestamp::UNIX_EPOCH, &envelope(seq));
            assert!(queue.push_fact(&envelope(seq)));
            if seq == 3 {
                assert!(queue.push_answer(Inbound::Done("x".into())));
                assert_eq!(rx.recv().await, Some(Inbound::Done("x".into())), "the screen has a board, if an old one");
            }
            facts.arrived(1);
            tokio::task::yield_now().await;
        }
        let Some(Inbound::Snapshot(snapshot)) = rx.recv().await else { panic!("then all of it at once") };
        assert_eq!(snapshot.seq, last);
        assert!(queue.push_fact(&envelope(last + 1)));
        let Some(Inbound::Fact(fact)) = rx.recv().await else { panic!("then facts as they come") };
        assert_eq!(fact.seq, last + 1);
        drop(rx);
        pump.await.expect("pump");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_announced_and_does_not_come_keeps_no_screen_dark() {
        let queue = Arc::new(LinkQueue::new());
        let (facts, _facts_rx) = FactSender::channel();
        facts.announce(1);
        let (tx, mut rx) = mpsc::channel(8);
        let began = clock::timer();
        let pump = Arc::clone(&queue).pump(Arc::default(), tx, facts.announced(), CancellationToken::new());
        let pump = tokio::spawn(pump);
        assert!(queue.push_answer(Inbound::Done("x".into())));
        let Some(Inbound::Snapshot(_)) = rx.recv().await else { panic!("first a snapshot") };
        assert_eq!(rx.recv().await, Some(Inbound::Done("x".into())));
        assert!(clock::timer() - began >= ANNOUNCED_WAIT);
        assert!(queue.push_fact(&envelope(1)));
        let Some(Inbound::Fact(_)) = rx.recv().await else { panic!("then facts as they come") };
        drop(rx);
        pump.await.expect("pump");
    }
}
