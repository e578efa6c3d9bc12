//! What is decided once for all hosts, and what they say to it.

use super::*;
use crate::domain::alert::quiet::Silence;

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
