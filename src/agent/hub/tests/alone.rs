//! The one host of a screen: what passes through, and what is written here.

use std::os::unix::fs::MetadataExt;

use super::exports::{ended, export, serve};
use super::*;

#[tokio::test]
async fn everything_passes_as_it_is_and_a_file_is_written_by_the_screen() {
    let (inbound_tx, facts_rx) = mpsc::channel(LINK_INBOUND_MAX);
    let (requests_tx, requests_rx) = mpsc::channel(LINK_REQUESTS_MAX);
    let host = HostId::new("h");
    let mut far = Far { inbound_tx, requests_rx, host: host.clone() };
    let mut link =
        crate::agent::hub::alone::start(Member { called: HostId::new("called"), link: Link { facts_rx, requests_tx } });
    far.comes().await;
    // Nothing is said in the host's place, and what it says is not worded otherwise.
    assert!(matches!(next(&mut link).await, Inbound::Host(news) if news.host == host));
    assert!(matches!(next(&mut link).await, Inbound::Snapshot(_)));
    far.says(Inbound::Failed("no".into())).await;
    assert_eq!(next(&mut link).await, Inbound::Failed("no".into()));
    let other = Request::RunProbe(ProbeId::new(&HostId::new("elsewhere"), "api"));
    for request in [Request::Unsilence("s".into()), other, Request::TakeOver, Request::LetGo] {
        ask(&link, request.clone()).await;
        assert_eq!(far.asked().await, request);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.log");
    ask(&link, export(&path)).await;
    let news = tokio::select! {
        news = ended(&mut link) => news,
        () = serve(&mut far, &[1, 2, 3]) => panic!("the hub went away"),
    };
    assert!(matches!(news, ExportNews::Finished { records: 3, gaps: 0, .. }), "{news:?}");
    let found = std::fs::metadata(&path).expect("written");
    assert_eq!((found.mode() & 0o777, found.uid()), (0o600, rustix::process::geteuid().as_raw()));
    // What runs in this process reads the files themselves.
    far.way(Way::Inside).await;
    assert!(matches!(next(&mut link).await, Inbound::Host(_)));
    ask(&link, export(&path)).await;
    assert!(matches!(far.asked().await, Request::Export(_)));
}
