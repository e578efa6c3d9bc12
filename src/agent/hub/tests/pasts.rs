//! The past of several hosts: steps over the events of all, and who is missing at an instant.

use super::*;
use crate::domain::fact::Actor;
use crate::domain::past::{Absent, Found, Moment, Past, PastEvent, PastKind, PastRequest, Step};

fn second(it: i64) -> Timestamp {
    Timestamp::from_second(it).expect("a time")
}

fn past_request(step: Step) -> Request {
    Request::Past(PastRequest { host: None, generation: 7, step, about: None })
}

impl Far {
    /// Takes what is asked of the past.
    async fn asked_past(&mut self, step: Step) -> PastRequest {
        match self.asked().await {
            Request::Past(it) => {
                assert_eq!(it.step, step);
                it
            }
            other => panic!("a question about the past, not {other:?}"),
        }
    }

    /// Answers as a host does where something happened at these seconds, recorded from `since` on.
    async fn answers_past(&mut self, step: Step, since: i64, events: &[i64]) {
        let request = self.asked_past(step).await;
        let at = match step {
            Step::At(at) => Some(at),
            Step::Before(before) => events.iter().rev().map(|it| second(*it)).find(|it| *it < before),
            Step::After(after) => events.iter().map(|it| second(*it)).find(|it| *it > after),
        };
        let found = match (at, step) {
            (Some(at), _) if at >= second(since) => {
                let last = events.iter().rev().map(|it| second(*it)).find(|it| *it <= at);
                let event = |at| PastEvent {
                    at,
                    kind: PastKind::Probe,
                    subject: "api".into(),
                    text: format!("turned on {}", self.host),
                    actor: Actor::Runtime,
                    nothing_since: None,
                };
                let board = Board { host: Some(self.host.clone()), ..Board::default() };
                let events = last.map(event).into_iter().collect();
                Found::Moment(Box::new(Moment { at, events, gap: None, absent: Vec::new(), board }))
            }
            (None, Step::After(_)) => Found::Present,
            _ => Found::Beginning,
        };
        let known_since = Some(second(since));
        let past = Past { host: self.host.clone(), generation: request.generation, known_since, found };
        self.says(Inbound::Past(Box::new(past))).await;
    }
}

async fn shown_past(link: &mut Link) -> Past {
    loop {
        match next(link).await {
            Inbound::Past(past) => return *past,
            Inbound::Failed(text) => panic!("{text}"),
            _ => {}
        }
    }
}

/// The instant, what happened then, whose boards are shown, who is missing and why.
fn read(past: Past) -> (Timestamp, Vec<String>, Vec<String>, Vec<String>) {
    assert_eq!(past.generation, 7, "as the screen asked");
    let Found::Moment(moment) = past.found else { panic!("{past:?}") };
    let hosts = moment.board.hosts.keys().map(ToString::to_string).collect();
    let absent = moment.absent.iter().map(|Absent { host, why }| format!("{host}: {why}")).collect();
    (moment.at, moment.events.into_iter().map(|it| it.subject).collect(), hosts, absent)
}

#[tokio::test]
async fn steps_go_over_the_events_of_all_hosts_in_the_order_of_time_there_and_back() {
    let (mut link, mut far) = hub_of_two().await;
    let events: [&[i64]; 2] = [&[50, 80], &[60]];
    let mut at = Timestamp::MAX;
    for (earlier, expected, subject) in [
        (true, 80, "db1 api"),
        (true, 60, "web1 api"),
        (true, 50, "db1 api"),
        (false, 60, "web1 api"),
        (false, 80, "db1 api"),
    ] {
        let step = if earlier { Step::Before(at) } else { Step::After(at) };
        ask(&link, past_request(step)).await;
        for (far, events) in far.iter_mut().zip(events) {
            far.answers_past(step, 0, events).await;
        }
        // The other one is asked for that instant as well.
        let other = usize::from(subject.starts_with("db1"));
        far[other].answers_past(Step::At(second(expected)), 0, events[other]).await;
        let (shown, subjects, hosts, absent) = read(shown_past(&mut link).await);
        assert_eq!((shown, hosts.len(), absent.len()), (second(expected), 2, 0));
        assert_eq!(subjects, [subject], "what happened at the instant, and on which host");
        at = shown;
    }
    ask(&link, past_request(Step::After(at))).await;
    for (far, events) in far.iter_mut().zip(events) {
        far.answers_past(Step::After(at), 0, events).await;
    }
    assert_eq!(shown_past(&mut link).await.found, Found::Present, "behind the last event of all is the present");
    assert!(far.iter_mut().all(Far::is_asked_nothing));
}

#[tokio::test]
async fn a_lost_host_holds_up_no_step_and_is_named() {
    let (mut link, mut far) = hub_of_two().await;
    far[1].way(lost()).await;
    while !matches!(next(&mut link).await, Inbound::Host(_)) {}
    let before = Step::Before(Timestamp::MAX);
    ask(&link, past_request(before)).await;
    far[0].answers_past(before, 0, &[50]).await;
    let (at, subjects, hosts, absent) = read(shown_past(&mut link).await);
    assert_eq!((at, hosts, absent), (second(50), vec!["db1".into()], vec!["web1: lost".into()]));
    assert_eq!(subjects, ["db1 api"]);
    assert!(far[1].is_asked_nothing());
}

#[tokio::test]
async fn who_was_not_recorded_then_or_cannot_read_its_record_or_goes_meanwhile_is_named() {
    let (mut link, mut far) = hub(&["db1", "web1", "web2", "web3"]);
    for it in &far {
        it.comes().await;
    }
    all_there(&mut link, 4).await;
    let at = Step::At(second(50));
    ask(&link, past_request(at)).await;
    far[1].answers_past(at, 70, &[80]).await;
    far[2].asked_past(at).await;
    far[2].says(Inbound::Failed(format!("{FAILED}: permission denied"))).await;
    far[3].asked_past(at).await;
    far[3].way(lost()).await;
    far[0].answers_past(at, 0, &[50]).await;
    let mut failed = Vec::new();
    let past = loop {
        match next(&mut link).await {
            Inbound::Past(past) => break *past,
            Inbound::Failed(text) => failed.push(text),
            _ => {}
        }
    };
    assert_eq!(failed, [format!("web2: {FAILED}: permission denied")]);
    let (_, _, hosts, absent) = read(past);
    assert_eq!(hosts, ["db1"]);
    assert_eq!(absent, ["web1: not recorded then", "web2: could not read it", "web3: lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_waited_for_and_then_named() {
    let (mut link, mut far) = hub_of_two().await;
    let at = Step::At(second(50));
    ask(&link, past_request(at)).await;
    far[1].asked_past(at).await;
    far[0].answers_past(at, 0, &[50]).await;
    let began = clock::timer();
    let (_, _, hosts, absent) = read(shown_past(&mut link).await);
    assert_eq!((hosts, absent), (vec!["db1".into()], vec!["web1: did not answer".into()]));
    assert!(clock::timer() - began >= Duration::from_secs(2), "it may have to read a while");
}

#[tokio::test]
async fn when_nobody_can_be_asked_that_is_said_and_the_screen_waits_no_longer() {
    let (mut link, far) = hub_of_two().await;
    for it in &far {
        it.way(lost()).await;
        while !matches!(next(&mut link).await, Inbound::Host(_)) {}
    }
    ask(&link, past_request(Step::Before(Timestamp::MAX))).await;
    assert_eq!(next(&mut link).await, Inbound::Failed(format!("{FAILED}: no host answers")));
}
