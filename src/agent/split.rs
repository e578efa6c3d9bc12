//! One link of two: logs that were named on the command line are read by this process, everything else comes from
//! whoever watches the host.

use tokio::sync::mpsc;

use crate::domain::fact::{Actor, Envelope, Fact};
use crate::domain::log::{LogBoard, LogFact, SourceState};
use crate::domain::request::{Inbound, Request};
use crate::runtime::{LINK_INBOUND_MAX, LINK_REQUESTS_MAX, Link};

/// Joins the link of a host with one that knows only logs, whose logs take the place of the host's. Needs a tokio
/// runtime around it. It ends both when the screen drops it.
pub fn split(host: Link, logs: Link) -> Link {
    let (inbound_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
    let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
    tokio::spawn(carry(host, logs, inbound_tx, requests_rx));
    Link { facts_rx, requests_tx }
}

async fn carry(
    mut host: Link,
    mut logs: Link,
    inbound_tx: mpsc::Sender<Inbound>,
    mut requests_rx: mpsc::Receiver<Request>,
) {
    let mut known = LogBoard::default();
    let (mut host_ended, mut logs_ended) = (false, false);
    loop {
        let out = tokio::select! {
            biased;
            request = requests_rx.recv() => match request {
                None => return,
                Some(request) => route(&host, &logs, request).into_iter().collect(),
            },
            inbound = logs.facts_rx.recv(), if !logs_ended => match inbound {
                None => {
                    logs_ended = true;
                    Vec::new()
                }
                Some(inbound) => of_logs(&mut known, inbound),
            },
            inbound = host.facts_rx.recv(), if !host_ended => match inbound {
                None => {
                    host_ended = true;
                    Vec::new()
                }
                Some(inbound) => of_host(&known, inbound).into_iter().collect(),
            },
        };
        for inbound in out {
            // A screen that reads no more may still ask to keep its drafts.
            let _ = inbound_tx.send(inbound).await;
        }
    }
}

/// Sends a request where it belongs; what cannot be sent comes back as words.
fn route(host: &Link, logs: &Link, request: Request) -> Option<Inbound> {
    let way = match &request {
        Request::Window(_) | Request::Export(_) | Request::StopExport => logs,
        _ => host,
    };
    let error = "too busy for that; ask again";
    match way.requests_tx.try_send(request) {
        Ok(()) => None,
        Err(mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request)) => {
            Some(Inbound::Refused { request: Box::new(request), error: error.to_string() })
        }
    }
}

/// What the screen sees of what the host says: everything but its logs.
fn of_host(known: &LogBoard, inbound: Inbound) -> Option<Inbound> {
    match inbound {
        Inbound::Snapshot(mut board) => {
            board.logs.clone_from(known);
            Some(Inbound::Snapshot(board))
        }
        Inbound::Fact(envelope) if matches!(envelope.fact, Fact::Log(_)) => None,
        other => Some(other),
    }
}

/// What the screen sees of what the logs say. A snapshot of theirs would hide the host: it comes as facts.
fn of_logs(known: &mut LogBoard, inbound: Inbound) -> Vec<Inbound> {
    match inbound {
        Inbound::Snapshot(board) => {
            let Some(host) = &board.host else { return Vec::new() };
            let facts = facts_between(known, &board.logs);
            known.clone_from(&board.logs);
            let envelope = |fact| Envelope {
                host: host.clone(),
                seq: board.seq,
                at: crate::clock::now(),
                actor: Actor::Runtime,
                fact: Fact::Log(fact),
            };
            facts.into_iter().map(|it| Inbound::Fact(Box::new(envelope(it)))).collect()
        }
        Inbound::Fact(envelope) => {
            if let Fact::Log(fact) = &envelope.fact {
                known.apply(fact);
            }
            vec![Inbound::Fact(envelope)]
        }
        // The facts that follow say what was missed.
        Inbound::Missed { .. } => Vec::new(),
        other => vec![other],
    }
}

/// The facts that make one board of logs out of another.
fn facts_between(old: &LogBoard, new: &LogBoard) -> Vec<LogFact> {
    let gone = old.sources.iter().filter(|it| new.get(&it.id).is_none());
    let mut facts: Vec<LogFact> = gone.map(|it| LogFact::Closed { source: it.id.clone() }).collect();
    for it in new.sources.iter().filter(|it| old.get(&it.id) != Some(*it)) {
        let source = it.id.clone();
        if old.get(&it.id).is_none() {
            facts.push(LogFact::Opened { source: source.clone(), name: it.name.clone(), origin: it.origin.clone() });
        }
        if !it.columns.is_empty() {
            facts.push(LogFact::Columns { source: source.clone(), columns: it.columns.clone() });
        }
        if it.state != SourceState::Connected || old.get(&it.id).is_some() {
            facts.push(LogFact::State { source: source.clone(), state: it.state.clone() });
        }
        if it.doubt.is_some() || old.get(&it.id).is_some() {
            facts.push(LogFact::Doubt { source: source.clone(), doubt: it.doubt.clone() });
        }
        facts.push(LogFact::Grew { source, size_bytes: it.size_bytes });
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::board::Board;
    use crate::domain::fact::RuntimeFact;
    use crate::domain::ids::{HostId, SourceId};
    use crate::domain::incident::NoteRequest;

    struct Far {
        facts_tx: mpsc::Sender<Inbound>,
        requests_rx: mpsc::Receiver<Request>,
    }

    fn pair() -> (Link, Far) {
        let (facts_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
        let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
        (Link { facts_rx, requests_tx }, Far { facts_tx, requests_rx })
    }

    fn opened(name: &str) -> LogFact {
        let source = SourceId::new(&HostId::new("h"), name);
        LogFact::Opened { source, name: name.into(), origin: format!("/{name}") }
    }

    fn board(names: &[&str]) -> Box<Board> {
        let mut board = Board { host: Some(HostId::new("h")), ..Board::default() };
        names.iter().for_each(|it| board.logs.apply(&opened(it)));
        Box::new(board)
    }

    fn fact(fact: Fact) -> Inbound {
        let at = jiff::Timestamp::UNIX_EPOCH;
        Inbound::Fact(Box::new(Envelope { host: HostId::new("h"), seq: 1, at, actor: Actor::Runtime, fact }))
    }

    #[tokio::test]
    async fn the_logs_are_ours_and_everything_else_is_the_hosts() {
        let (host, mut far_host) = pair();
        let (logs, mut far_logs) = pair();
        let mut screen = split(host, logs);
        let mut seen = Board::default();
        far_logs.facts_tx.send(Inbound::Snapshot(board(&["named"]))).await.expect("carried");
        for _ in 0..2 {
            let Some(Inbound::Fact(envelope)) = screen.facts_rx.recv().await else { panic!("facts of the logs") };
            let _ = seen.apply(envelope.at, &envelope);
        }
        assert_eq!(seen.logs, board(&["named"]).logs);
        far_host.facts_tx.send(Inbound::Snapshot(board(&["theirs"]))).await.expect("carried");
        let Some(Inbound::Snapshot(snapshot)) = screen.facts_rx.recv().await else { panic!("a snapshot") };
        assert_eq!(snapshot.logs, seen.logs, "the host's own logs are not shown");
        far_host.facts_tx.send(fact(Fact::Log(opened("more")))).await.expect("carried");
        far_host.facts_tx.send(fact(Fact::Runtime(RuntimeFact::Active))).await.expect("carried");
        assert_eq!(screen.facts_rx.recv().await, Some(fact(Fact::Runtime(RuntimeFact::Active))));

        let note = Request::Note(NoteRequest { incident: None, at: None, text: "n".into() });
        for request in [Request::StopExport, note.clone()] {
            screen.requests_tx.try_send(request).expect("room");
        }
        assert_eq!(far_logs.requests_rx.recv().await, Some(Request::StopExport));
        assert_eq!(far_host.requests_rx.recv().await, Some(note));
        drop(screen);
        assert_eq!(far_host.requests_rx.recv().await, None, "the host is left as well");
    }

    #[test]
    fn what_a_snapshot_of_logs_changes_is_told_as_facts() {
        let old = board(&["a", "b"]).logs;
        let mut new = board(&["b", "c"]).logs;
        let c = SourceId::new(&HostId::new("h"), "c");
        new.apply(&LogFact::Grew { source: c.clone(), size_bytes: 7 });
        new.apply(&LogFact::Columns { source: c, columns: vec!["status".into()] });
        let mut folded = old.clone();
        facts_between(&old, &new).iter().for_each(|it| folded.apply(it));
        assert_eq!(folded, new);
        assert!(facts_between(&new, &new).is_empty());
    }
}
