//! Exports of several hosts: pages that are merged, hosts that are lost on the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::domain::export::ExportFormat;

/// Answers as a host with one record at each of these seconds does, as long as anything is asked.
pub(super) async fn serve(far: &mut Far, seconds: &[i64]) {
    while let Some(request) = far.requests_rx.recv().await {
        let Request::Window(request) = request else { panic!("pages, not {request:?}") };
        far.page(&request, seconds).await;
    }
}

impl Far {
    async fn page(&self, request: &WindowRequest, seconds: &[i64]) {
        assert_eq!(request.query, "error");
        let (start, len) = match &request.anchor {
            Anchor::Tail => (seconds.len().saturating_sub(request.before as usize), request.before as usize),
            Anchor::Head => (0, request.after as usize),
            Anchor::At(position) => {
                let at = seconds.iter().position(|it| position.time <= Timestamp::from_second(*it).ok());
                (at.unwrap_or(seconds.len()), request.after as usize)
            }
            other => panic!("no page stands at {other:?}"),
        };
        let end = (start + len).min(seconds.len());
        // As the engine does: what is lacking on one side comes from the other.
        let start = start.min(end.saturating_sub(len));
        let rows: Vec<Row> = seconds[start..end].iter().map(|it| record(&self.host, *it)).collect();
        self.says(Inbound::Window(Box::new(Window {
            anchor_row: (!rows.is_empty()).then_some(0),
            rows: Some(rows),
            at_head: start == 0,
            at_tail: end == seconds.len(),
            ..Window::answering(request)
        })))
        .await;
    }
}

pub(super) fn export(path: &Path) -> Request {
    Request::Export(Box::new(ExportRequest {
        path: path.display().to_string(),
        format: ExportFormat::of_path(&path.display().to_string()),
        query: "error".into(),
        sources: Vec::new(),
        muted: Vec::new(),
        from: None,
        until: None,
    }))
}

pub(super) async fn ended(link: &mut Link) -> ExportNews {
    loop {
        match next(link).await {
            Inbound::Export(ExportNews::Writing { .. }) => {}
            Inbound::Export(news) => return news,
            Inbound::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_records_of_all_hosts_go_into_one_file_here_in_the_order_of_time() {
    let (mut link, far) = hub_of_two().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.log");
    ask(&link, export(&path)).await;
    let (odd, even): (Vec<i64>, Vec<i64>) = (0..3000).partition(|it| it % 2 == 1);
    let of = [odd, even];
    for (mut far, seconds) in far.into_iter().zip(of) {
        tokio::spawn(async move { serve(&mut far, &seconds).await });
    }
    let news = ended(&mut link).await;
    let ExportNews::Finished { path: shown, records, bytes, gaps: 0, missing } = news else { panic!("{news:?}") };
    let text = fs::read_to_string(&path).expect("a file");
    let expected: String = (0..3000)
        .map(|it| {
            let host = if it % 2 == 1 { "db1" } else { "web1" };
            format!("{host}:app: {host} {it}\n")
        })
        .collect();
    assert!(text == expected, "{text}");
    assert_eq!((records, bytes, missing), (3000, text.len() as u64, Vec::new()));
    assert!(shown.ends_with("/out.log"), "{shown}");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_host_that_is_cut_off_and_back_goes_on_behind_its_last_record() {
    let (mut link, mut far) = hub_of_two().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.jsonl");
    ask(&link, export(&path)).await;
    let mut web = far.pop().expect("web1");
    let mut db = far.pop().expect("db1");
    tokio::spawn(async move { serve(&mut db, &[5]).await });
    let seconds: Vec<i64> = (0..600).collect();
    for _ in 0..2 {
        let request = web.asked_window().await;
        web.page(&request, &seconds).await;
    }
    let unanswered = web.asked_window().await;
    web.way(lost()).await;
    web.comes().await;
    let again = web.asked_window().await;
    assert_eq!(again.anchor, unanswered.anchor, "it goes on where it was");
    assert_ne!(again.generation, unanswered.generation);
    // What was asked before the cut is answered late and counts for nothing.
    web.page(&unanswered, &seconds).await;
    web.page(&again, &seconds).await;
    tokio::spawn(async move { serve(&mut web, &seconds).await });
    let news = ended(&mut link).await;
    assert!(matches!(&news, ExportNews::Finished { records: 601, missing, .. } if missing.is_empty()), "{news:?}");
    let text = fs::read_to_string(&path).expect("a file");
    let of_web = text.lines().filter(|it| it.contains("web1:app"));
    let told: Vec<String> = of_web
        .map(|it| serde_json::from_str::<serde_json::Value>(it).expect("JSON")["text"].as_str().expect("text").into())
        .collect();
    assert_eq!(told, (0..600).map(|it| format!("web1 {it}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_lost_host_does_not_give_is_said_on_the_screen_and_in_the_file() {
    let (mut link, mut far) = hub_of_two().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.log");
    far[1].way(lost()).await;
    while !matches!(next(&mut link).await, Inbound::Host(_)) {}
    ask(&link, export(&path)).await;
    let mut db = far.swap_remove(0);
    tokio::spawn(async move { serve(&mut db, &[1, 2]).await });
    let news = ended(&mut link).await;
    let ExportNews::Finished { missing, .. } = news else { panic!("{news:?}") };
    assert_eq!(missing, ["web1: lost: broken pipe; nothing of it is here"]);
    let text = fs::read_to_string(&path).expect("a file");
    assert_eq!(text, "db1:app: db1 1\ndb1:app: db1 2\n~ web1: lost: broken pipe; nothing of it is here ~\n");
}

#[tokio::test]
async fn an_export_that_is_stopped_or_cannot_be_run_or_loses_its_screen_leaves_nothing() {
    let (mut link, mut far) = hub_of_two().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.log");
    ask(&link, export(&path)).await;
    far[0].asked_window().await;
    ask(&link, export(&directory.path().join("other.log"))).await;
    let busy = ended(&mut link).await;
    assert!(matches!(&busy, ExportNews::Failed(why) if why.starts_with("another export")), "{busy:?}");
    ask(&link, Request::StopExport).await;
    assert_eq!(ended(&mut link).await, ExportNews::Stopped);
    far[1].asked_window().await;

    let path = directory.path().join("refused.log");
    ask(&link, export(&path)).await;
    let request = far[0].asked_window().await;
    let refused = Window {
        rows: Some(Vec::new()),
        at_head: true,
        at_tail: true,
        query_error: Some("`(` is not closed".into()),
        ..Window::answering(&request)
    };
    far[0].says(Inbound::Window(Box::new(refused))).await;
    assert_eq!(ended(&mut link).await, ExportNews::Failed("could not export: `(` is not closed".into()));
    far[1].asked_window().await;

    ask(&link, export(&directory.path().join("left.log"))).await;
    far[0].asked_window().await;
    drop(link);
    while timeout(LONG, far[0].requests_rx.recv()).await.expect("left in time").is_some() {}
    // The pen writes on a thread of its own, and takes its file away when it hears that nobody wants it.
    let is_left = || fs::read_dir(directory.path()).expect("a directory").next().is_some();
    let gone = async {
        while is_left() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, gone).await.expect("no file is left");
}

/// A hub's node without anything behind it.
fn node(name: &str) -> (Node, mpsc::Receiver<Request>) {
    let (requests_tx, requests_rx) = mpsc::channel(32);
    let host = HostId::new(name);
    let (requests_tx, sources) = (Some(requests_tx), BTreeMap::new());
    let (called, incidents) = (host.clone(), BTreeSet::new());
    (Node { called, host: Some(host), requests_tx, way: attached(), sources, incidents }, requests_rx)
}

#[test]
fn a_host_that_does_not_come_back_is_given_up_and_the_rest_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.log");
    let Request::Export(request) = export(&path) else { panic!("an export") };
    let ((db, _db_rx), (web, _web_rx)) = (node("db1"), node("web1"));
    let mut nodes = [db, web];
    let (wrote_tx, mut wrote_rx) = mpsc::channel(WROTE_MAX);
    let mut now = clock::timer();
    let mut export = Export::begin(1, now, *request, (None, None), &nodes, wrote_tx);
    let answer = |export: &mut Export, now, index: usize, request: &WindowRequest, seconds: &[i64], at_tail| {
        let host = HostId::new(["db1", "web1"][index]);
        let rows = seconds.iter().map(|it| record(&host, *it)).collect();
        let window =
            Window { rows: Some(rows), anchor_row: Some(0), at_head: true, at_tail, ..Window::answering(request) };
        assert_eq!(export.take(index, window, now), None);
    };
    for (index, request) in export.go_on(now, &nodes).asked {
        answer(&mut export, now, index, &request, &[9], true);
    }
    for (index, request) in export.go_on(now, &nodes).asked {
        let (seconds, at_tail): (&[i64], bool) = if index == 0 { (&[1, 4], false) } else { (&[2, 6, 9], true) };
        answer(&mut export, now, index, &request, seconds, at_tail);
    }
    export.go_on(now, &nodes);
    nodes[0].way = lost();
    export.mark(0, false, now);
    now = export.deadline().expect("it is not waited for for ever");
    export.go_on(now, &nodes);
    let news = loop {
        let (_, wrote) = wrote_rx.blocking_recv().expect("the file says how it goes");
        match export.wrote(now, wrote) {
            Some(ExportNews::Writing { .. }) | None => export.go_on(now, &nodes),
            Some(news) => break news,
        };
    };
    let why = "lost: broken pipe; what it has behind 1970-01-01T00:00:04Z is missing";
    let ExportNews::Finished { missing, records: 5, gaps: 2, .. } = news else { panic!("{news:?}") };
    assert_eq!(missing, [format!("db1: {why}")]);
    let text = fs::read_to_string(&path).expect("a file");
    let expected = [
        "db1:app: db1 1",
        "web1:app: web1 2",
        "db1:app: db1 4",
        &format!("~ db1: {why} ~"),
        "web1:app: web1 6",
        "web1:app: web1 9",
        &format!("~ db1: {why} ~"),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
