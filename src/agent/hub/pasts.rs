//! The past of several hosts: the nearest event of all of them, and all of them at that instant.
//!
//! A step is made in two rounds: every host says what it has before (or after), then those whose event is not the
//! nearest are asked for the nearest one's instant. What is shown is the union of their boards, as of the present.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::agent::hub::Node;
use crate::domain::board::Board;
use crate::domain::fleet::Fleet;
use crate::domain::host::Way;
use crate::domain::ids::HostId;
use crate::domain::past::{Absent, EVENTS_MAX, Found, Moment, Past, PastRequest, Step};

/// How long a host is waited for in a round: it may have to fold a whole segment of its journal.
const PATIENCE: Duration = Duration::from_secs(3);

/// The one question about the past that is under way; a screen asks one at a time, and a newer one replaces it.
#[derive(Default)]
pub struct Pasts {
    /// Numbers what hosts are asked: an answer to anything older is not taken.
    ticket: u64,
    round: Option<Round>,
}

struct Round {
    /// As the screen asks.
    request: PastRequest,
    /// Every host is at the instant, or still looks for its own event.
    at: Option<Timestamp>,
    ticket: u64,
    asked: Instant,
    /// By host.
    answers: Vec<Answer>,
}

#[derive(Clone)]
enum Answer {
    /// Nobody wants to know.
    Unasked,
    /// It says nothing; why, in a word or two.
    None(&'static str),
    Awaited,
    Here(Box<Past>),
}

/// What is to be done next.
pub enum Next {
    /// Ask these hosts.
    Ask(Vec<(usize, PastRequest)>),
    /// Tell the screen.
    Tell(Box<Past>),
    /// Tell the screen that nobody could be asked.
    Nobody,
}

impl Pasts {
    /// Begins a question and says what is asked of whom.
    pub fn begin(&mut self, now: Instant, request: PastRequest, nodes: &[Node]) -> Next {
        let at = match request.step {
            Step::At(at) => Some(at),
            Step::Before(_) | Step::After(_) => None,
        };
        self.ticket += 1;
        let answer = |it: &Node| match &it.way {
            _ if request.host.as_ref().is_some_and(|host| host != it.name()) => Answer::Unasked,
            _ if it.is_there() => Answer::Awaited,
            Way::Lost { .. } => Answer::None("lost"),
            Way::Refused { .. } | Way::Connecting | Way::Inside | Way::Attached { .. } => Answer::None("not attached"),
        };
        let answers: Vec<Answer> = nodes.iter().map(answer).collect();
        if !answers.iter().any(|it| matches!(it, Answer::Awaited)) {
            self.round = None;
            return Next::Nobody;
        }
        let round = Round { request, at, ticket: self.ticket, asked: now, answers };
        let asked = round.questions(round.request.step);
        self.round = Some(round);
        Next::Ask(asked)
    }

    /// Until when the answers are waited for.
    pub fn deadline(&self) -> Option<Instant> {
        self.round.as_ref().map(|it| it.asked + PATIENCE)
    }

    /// Takes a host's answer.
    pub fn take(&mut self, index: usize, past: Past) {
        if let Some(round) = self.round.as_mut().filter(|it| it.ticket == past.generation)
            && let Some(answer) = round.answers.get_mut(index)
        {
            *answer = Answer::Here(Box::new(past));
        }
    }

    /// A host will not answer; why, in a word or two.
    pub fn give_up(&mut self, index: usize, why: &'static str) {
        let answers = self.round.as_mut().map(|it| &mut it.answers);
        if let Some(answer) = answers.and_then(|it| it.get_mut(index))
            && matches!(answer, Answer::Awaited)
        {
            *answer = Answer::None(why);
        }
    }

    /// What follows when all have answered, or have been waited for.
    pub fn go_on(&mut self, now: Instant, nodes: &[Node]) -> Option<Next> {
        let round = self.round.as_ref()?;
        let is_awaited = round.answers.iter().any(|it| matches!(it, Answer::Awaited));
        if is_awaited && now < round.asked + PATIENCE {
            return None;
        }
        let mut round = self.round.take()?;
        for answer in &mut round.answers {
            if matches!(answer, Answer::Awaited) {
                *answer = Answer::None("did not answer");
            }
        }
        if round.pasts().next().is_none() {
            return Some(Next::Nobody);
        }
        if round.at.is_some() {
            return Some(Next::Tell(Box::new(round.merged(nodes))));
        }
        let Some(at) = round.nearest() else {
            return Some(Next::Tell(Box::new(round.without_event())));
        };
        round.at = Some(at);
        self.ticket += 1;
        (round.ticket, round.asked) = (self.ticket, now);
        for answer in &mut round.answers {
            let is_at = |past: &Past| matches!(&past.found, Found::Moment(it) if it.at == at);
            if matches!(answer, Answer::Here(past) if !is_at(past)) {
                *answer = Answer::Awaited;
            }
        }
        let asked = round.questions(Step::At(at));
        if asked.is_empty() {
            return Some(Next::Tell(Box::new(round.merged(nodes))));
        }
        self.round = Some(round);
        Some(Next::Ask(asked))
    }
}

impl Round {
    fn questions(&self, step: Step) -> Vec<(usize, PastRequest)> {
        let awaited = self.answers.iter().enumerate().filter(|(_, it)| matches!(it, Answer::Awaited));
        let about = self.request.about.clone();
        awaited
            .map(|(index, _)| (index, PastRequest { host: None, generation: self.ticket, step, about: about.clone() }))
            .collect()
    }

    fn pasts(&self) -> impl Iterator<Item = &Past> {
        self.answers.iter().filter_map(|it| match it {
            Answer::Here(past) => Some(&**past),
            Answer::Unasked | Answer::None(_) | Answer::Awaited => None,
        })
    }

    fn moments(&self) -> impl Iterator<Item = (&HostId, &Moment)> {
        self.pasts().filter_map(|it| match &it.found {
            Found::Moment(moment) => Some((&it.host, &**moment)),
            Found::Beginning | Found::Present => None,
        })
    }

    /// The instant of the event that is next on the way.
    fn nearest(&self) -> Option<Timestamp> {
        let times = self.moments().map(|(_, it)| it.at);
        match self.request.step {
            Step::After(_) => times.min(),
            Step::Before(_) | Step::At(_) => times.max(),
        }
    }

    fn answer(&self, found: Found) -> Past {
        let host = self.pasts().next().map_or_else(|| HostId::new(""), |it| it.host.clone());
        let known_since = self.pasts().filter_map(|it| it.known_since).min();
        Past { host, generation: self.request.generation, known_since, found }
    }

    fn without_event(&self) -> Past {
        self.answer(match self.request.step {
            Step::After(_) => Found::Present,
            Step::Before(_) | Step::At(_) => Found::Beginning,
        })
    }

    /// Who is not on the board of the instant, and why.
    fn absent(&self, nodes: &[Node]) -> Vec<Absent> {
        let why = |it: &Answer| match it {
            Answer::None(why) => Some(*why),
            Answer::Here(past) => match past.found {
                Found::Moment(_) => None,
                Found::Beginning => Some("not recorded then"),
                Found::Present => Some("nothing recorded since"),
            },
            Answer::Unasked | Answer::Awaited => None,
        };
        let answers = nodes.iter().zip(&self.answers);
        answers.filter_map(|(node, it)| Some(Absent { host: node.name().clone(), why: why(it)?.to_string() })).collect()
    }

    /// The union of all boards. A host that was not recorded then is not in it.
    fn merged(&self, nodes: &[Node]) -> Past {
        let Some(at) = self.at.filter(|_| self.moments().next().is_some()) else { return self.without_event() };
        let (mut fleet, mut board) = (Fleet::of_several(), Board::default());
        let mut events = Vec::new();
        for (host, moment) in self.moments() {
            let theirs = Board { host: Some(host.clone()), ..moment.board.clone() };
            fleet.take(&mut board, &theirs);
            for event in &moment.events {
                let mut event = event.clone();
                event.subject = format!("{host} {}", event.subject).trim_end().to_string();
                events.push(event);
            }
        }
        // What happened at the instant itself comes first.
        events.sort_by_key(|it| std::cmp::Reverse(it.at));
        let newest = events.first().map(|it| it.at);
        events.retain(|it| Some(it.at) == newest);
        events.truncate(EVENTS_MAX);
        // Where one host was recorded there is something to see.
        let gap = match self.moments().map(|(_, it)| it.gap).collect::<Option<Vec<_>>>() {
            Some(gaps) => gaps.into_iter().max_by_key(|it| it.0),
            None => None,
        };
        self.answer(Found::Moment(Box::new(Moment { at, events, gap, absent: self.absent(nodes), board })))
    }
}
