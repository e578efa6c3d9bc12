//! What is decided once for all hosts, and what they say to it.

use super::*;
use crate::domain::alert::quiet::Silence;
use crate::domain::fact::{Actor, Envelope};
use crate::domain::incident::NoteRequest;
use crate::domain::incident::fold::Incident;

fn silence() -> Request {
    Request::Silence(Box::new(Silence {
        id: "s".into(),
        matchers: vec!["kind=tcp".parse().expect("a matcher")],
        from: Timestamp::UNIX_EPOCH,
        until: Timestamp::MAX,
        by: "alice".into(),
        comment: String::new(),
    }))
}

#[tokio::test]
async fn one_silence_of_all_hosts_is_one_answer_that_names_them() {
    let (mut link, mut far) = hub_of_two().await;
    ask(&link, silence()).await;
    for it in &mut far {
        assert_eq!(it.asked().await, silence());
        it.says(Inbound::Done("silenced until 15:00".into())).await;
    }
    assert_eq!(next(&mut link).await, Inbound::Done("db1, web1: silenced until 15:00".into()));
    far[0].says(Inbound::Done("backed up".into())).await;
    assert_eq!(next(&mut link).await, Inbound::Done("db1: backed up".into()), "nothing is held any more");
}

#[tokio::test]
async fn a_note_goes_to_whoever_keeps_its_incident_and_comes_back_where_nobody_does() {
    let (mut link, mut far) = hub_of_two().await;
    // Declared when the second host had another name.
    let incident = Incident::fold(IncidentId::new(&HostId::new("web-old"), "INC-20240819-0601-abcd"), Vec::new());
    let note = |incident: &Incident| {
        Request::Note(NoteRequest { incident: Some(incident.id.clone()), at: None, text: "failover started".into() })
    };
    ask(&link, note(&incident)).await;
    let error = "not done: `web-old` is none of the hosts of this screen".to_string();
    assert_eq!(next(&mut link).await, Inbound::Refused { request: Box::new(note(&incident)), error });
    let loaded = Fact::Incident(IncidentFact::Loaded(Box::new(incident.clone())));
    let envelope =
        Envelope { host: far[1].host.clone(), seq: 1, at: Timestamp::UNIX_EPOCH, actor: Actor::Runtime, fact: loaded };
    far[1].says(Inbound::Fact(Box::new(envelope))).await;
    assert!(matches!(next(&mut link).await, Inbound::Fact(_)));
    ask(&link, note(&incident)).await;
    assert_eq!(far[1].asked().await, note(&incident));
    assert!(far[0].is_asked_nothing());
}

#[tokio::test]
async fn what_one_of_them_could_not_do_is_said_apart_and_comes_back() {
    let (mut link, mut far) = hub_of_two().await;
    ask(&link, silence()).await;
    let refused = Inbound::Refused { request: Box::new(far[1].asked().await), error: "not done: gone".into() };
    far[1].says(refused).await;
    far[0].asked().await;
    far[0].says(Inbound::Done("silenced".into())).await;
    let error = "web1: not done: gone".to_string();
    let told = [next(&mut link).await, next(&mut link).await];
    assert!(told.contains(&Inbound::Done("db1: silenced".into())), "{told:?}");
    assert!(told.contains(&Inbound::Refused { request: Box::new(silence()), error }), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_nothing_to_it_keeps_nobody_waiting_for_long() {
    let (mut link, mut far) = hub(&["a", "b", "c", "d", "e"]);
    for it in &far {
        it.comes().await;
    }
    all_there(&mut link, 5).await;
    ask(&link, silence()).await;
    let began = clock::timer();
    for it in &mut far {
        it.asked().await;
        if it.host.as_str() != "e" {
            it.says(Inbound::Done("silenced".into())).await;
        }
    }
    assert_eq!(next(&mut link).await, Inbound::Done("a, b, c, d: silenced".into()));
    assert!(clock::timer() - began < Duration::from_secs(1));
    ask(&link, silence()).await;
    for it in &far {
        it.says(Inbound::Done("silenced".into())).await;
    }
    assert_eq!(next(&mut link).await, Inbound::Done("all 5 hosts: silenced".into()));
}
