//! What each host is asked for of the rows that all of them are to fill.

use super::*;

impl Far {
    /// Answers with the newest records that are wanted of a host that has one at each of these seconds.
    async fn gives(&self, request: &WindowRequest, seconds: &[i64]) {
        let start = seconds.len().saturating_sub(request.before as usize);
        let rows = seconds[start..].iter().map(|it| record(&self.host, *it)).collect();
        self.says(Inbound::Window(Box::new(Window {
            rows: Some(rows),
            at_head: start == 0,
            at_tail: true,
            ..Window::answering(request)
        })))
        .await;
    }
}

fn forty(generation: u64, query: &str) -> Request {
    let request = WindowRequest::new(ViewId(1), generation, Anchor::Tail, (40, 0));
    Request::Window(Box::new(WindowRequest { query: query.into(), ..request }))
}

/// Four hosts that are there; the first one has nearly everything.
async fn one_is_busy() -> (Link, Vec<Far>, [Vec<i64>; 4]) {
    let (mut link, far) = hub(&["db1", "web1", "web2", "web3"]);
    for it in &far {
        it.comes().await;
    }
    all_there(&mut link, far.len()).await;
    (link, far, [(0..100).collect(), vec![97], vec![50], vec![]])
}

/// By host how many rows it was asked for, and that it answered.
async fn all_give(far: &mut [Far], seconds: &[Vec<i64>]) -> Vec<u32> {
    let mut asked = Vec::new();
    for (far, seconds) in far.iter_mut().zip(seconds) {
        let request = far.asked_window().await;
        far.gives(&request, seconds).await;
        asked.push(request.before);
    }
    asked
}

#[tokio::test]
async fn each_host_is_asked_for_its_share_and_who_has_most_for_all_of_it() {
    let (mut link, mut far, seconds) = one_is_busy().await;
    ask(&link, forty(5, "error")).await;
    assert_eq!(all_give(&mut far, &seconds).await, [28; 4]);
    let again = far[0].asked_window().await;
    assert_eq!(again.before, 40);
    far[0].gives(&again, &seconds[0]).await;
    let mut newest: Vec<String> = (61..100).map(|it| format!("db1 {it}")).collect();
    newest.insert(37, "web1 97".into());
    let newest: Vec<&str> = newest.iter().map(String::as_str).collect();
    let window = until_shown(&mut link, &newest).await;
    assert_eq!((window.generation, window.at_head, window.at_tail), (5, false, true));
    assert!(far[1..].iter_mut().all(Far::is_asked_nothing), "the others have said enough");

    ask(&link, forty(6, "error")).await;
    assert_eq!(all_give(&mut far, &seconds).await, [40, 28, 28, 28], "it has most of the next page as well");
    until_shown(&mut link, &newest).await;
    ask(&link, forty(7, "timeout")).await;
    assert_eq!(all_give(&mut far, &seconds).await, [28; 4], "nothing is known of another query");
}

#[tokio::test]
async fn what_a_host_gave_before_it_was_lost_hides_nothing_of_the_others() {
    let (mut link, mut far, seconds) = one_is_busy().await;
    ask(&link, forty(5, "error")).await;
    all_give(&mut far, &seconds).await;
    far[0].asked_window().await;
    far[0].way(lost()).await;
    let older = "db1: its older lines are not here either";
    let mut all: Vec<String> = vec!["web2 50".into(), older.into()];
    all.extend((72..98).map(|it| format!("db1 {it}")));
    all.extend(["web1 97", "db1 98", "db1 99", "db1: its lines are not here: lost: broken pipe"].map(String::from));
    until_shown(&mut link, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

fn unanswered(host: &str) -> String {
    format!("{host}: its lines are not here: has not answered yet")
}

#[tokio::test(start_paused = true)]
async fn hosts_that_are_all_slow_are_asked_once_for_what_they_have_together() {
    let (mut link, mut far, _) = one_is_busy().await;
    let seconds = |host: usize| (0..100).map(|it| it * 4 + i64::try_from(host).expect("few")).collect::<Vec<i64>>();
    ask(&link, forty(5, "error")).await;
    let mut requests = Vec::new();
    for it in &mut far {
        requests.push(it.asked_window().await);
    }
    let names: Vec<String> = far.iter().map(|it| it.host.to_string()).collect();
    let mut rows: Vec<String> = names.iter().map(|it| unanswered(it)).collect();
    until_shown(&mut link, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Patience with them is over. Each one says what it has, and that is shown, before the next one does.
    for (index, it) in far.iter().enumerate() {
        it.gives(&requests[index], &seconds(index)).await;
        if index + 1 < far.len() {
            next_window(&mut link).await;
        }
    }
    rows = (360..400).map(|it: usize| format!("{} {it}", names[it % 4])).collect();
    until_shown(&mut link, &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(far.iter_mut().all(Far::is_asked_nothing), "each has said enough the first time");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_answers_does_not_keep_the_others_at_their_share() {
    let (mut link, mut far, seconds) = one_is_busy().await;
    ask(&link, forty(5, "error")).await;
    let began = clock::timer();
    let silent = far.pop().expect("four");
    let given = all_give(&mut far, &seconds[..3]).await;
    assert_eq!(given, [28; 3]);
    let again = far[0].asked_window().await;
    assert_eq!(again.before, 40);
    assert!(clock::timer() - began >= Duration::from_millis(500), "it might have had what the others lack");
    far[0].gives(&again, &seconds[0]).await;
    let mut newest: Vec<String> = (61..100).map(|it| format!("db1 {it}")).collect();
    newest.insert(37, "web1 97".into());
    newest.push(unanswered(silent.host.as_str()));
    until_shown(&mut link, &newest.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(far.iter_mut().all(Far::is_asked_nothing));
}
