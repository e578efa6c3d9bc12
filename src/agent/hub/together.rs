//! What is decided once for all hosts is answered once: `db1, web1: silenced until 15:00`.
//!
//! A host answers in words and does not say to what. So what hosts say right after a decision that went to all of them
//! is held until each has said something, but not for long; what is the same is said once.

use std::time::Duration;

use tokio::time::Instant;

use crate::agent::hub::Node;
use crate::domain::request::Inbound;
use crate::domain::sanitise;

/// How long the slowest host is waited for: a person waits for the answer.
const PATIENCE: Duration = Duration::from_millis(700);
/// Hosts that are named one by one; of more, how many they are says it.
const NAMED_MAX: usize = 4;

/// The answers to one decision.
#[derive(Default)]
pub struct Together {
    round: Option<Round>,
}

struct Round {
    until: Instant,
    awaited: Vec<usize>,
    /// What was said, by whom.
    said: Vec<(Inbound, Vec<usize>)>,
}

impl Together {
    /// Begins to hold what these hosts say. What was held before is given out.
    pub fn begin(&mut self, now: Instant, hosts: Vec<usize>, nodes: &[Node]) -> Vec<Inbound> {
        let before = self.round.replace(Round { until: now + PATIENCE, awaited: hosts, said: Vec::new() });
        before.map(|it| it.told(nodes)).unwrap_or_default()
    }

    /// Holds an answer in words; gives back what is not to be held.
    pub fn take(&mut self, index: usize, inbound: Inbound) -> Option<Inbound> {
        let is_words = matches!(inbound, Inbound::Done(_) | Inbound::Failed(_) | Inbound::Refused { .. });
        let Some(round) = self.round.as_mut().filter(|it| is_words && it.awaited.contains(&index)) else {
            return Some(inbound);
        };
        round.awaited.retain(|it| *it != index);
        match round.said.iter_mut().find(|(it, _)| *it == inbound) {
            Some((_, hosts)) => hosts.push(index),
            None => round.said.push((inbound, vec![index])),
        }
        None
    }

    /// Until when answers are held.
    pub fn deadline(&self) -> Option<Instant> {
        self.round.as_ref().map(|it| it.until)
    }

    /// What is told now.
    pub fn go_on(&mut self, now: Instant, nodes: &[Node]) -> Vec<Inbound> {
        let is_over = |it: &mut Round| it.awaited.is_empty() || now >= it.until;
        self.round.take_if(is_over).map(|it| it.told(nodes)).unwrap_or_default()
    }
}

impl Round {
    fn told(self, nodes: &[Node]) -> Vec<Inbound> {
        let told = |(inbound, mut hosts): (Inbound, Vec<usize>)| {
            hosts.sort_unstable();
            let names = names(&hosts, nodes);
            match inbound {
                Inbound::Done(text) => Inbound::Done(format!("{names}: {text}")),
                Inbound::Failed(text) => Inbound::Failed(format!("{names}: {text}")),
                Inbound::Refused { request, error } => Inbound::Refused { request, error: format!("{names}: {error}") },
                other => other,
            }
        };
        self.said.into_iter().map(told).collect()
    }
}

fn names(hosts: &[usize], nodes: &[Node]) -> String {
    match hosts.len() {
        many if many > NAMED_MAX && many == nodes.len() => format!("all {many} hosts"),
        many if many > NAMED_MAX => format!("{many} of {} hosts", nodes.len()),
        _ => hosts.iter().map(|it| sanitise::text(nodes[*it].name().as_str())).collect::<Vec<_>>().join(", "),
    }
}
