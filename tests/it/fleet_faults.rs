//! Hosts whose link goes down, screens that only read and lie about it, one export of all: over real OpenSSH servers.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hotseat::agent::client;
use hotseat::agent::protocol::{ToAgent, ToScreen};
use hotseat::agent::ssh::{GREETING, argv};
use hotseat::config::remotes::Remote;
use hotseat::domain::alert::quiet::{Maintenance, MaintenanceWindow, Silence};
use hotseat::domain::export::{ExportFormat, ExportNews, ExportRequest};
use hotseat::domain::host::Way;
use hotseat::domain::ids::{HostId, IncidentId, JobId, ProbeId, RunId};
use hotseat::domain::incident::{DeclareRequest, IncidentChange, NoteRequest, PinRequest, Severity};
use hotseat::domain::presence::Visitor;
use hotseat::domain::request::{Inbound, Request};
use jiff::Timestamp;

use crate::fleet::{Host, LONG, Screen, is_whole, tail};
use crate::support::netns::Net;
use crate::support::sshd;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_link_goes_down_is_said_to_be_lost_and_its_log_goes_on_where_it_was() {
    let (Some(near), Some(far)) = (Net::start(), Net::start()) else { return };
    let (Some(db_sshd), Some(web_sshd)) = (sshd::Server::start_in(&near), sshd::Server::start_in(&far)) else { return };
    let (mut db, mut web) = (Host::start("db1", 0..20).await, Host::start("web1", 0..20).await);
    let remotes = vec![db.remote(&db_sshd.path("client")), web.remote(&web_sshd.path("client"))];
    let mut screen = Screen::open(remotes).await;
    screen.ask(tail(500)).await;
    screen.until(|it| is_whole(it, "db1", 0..20) && is_whole(it, "web1", 0..20)).await;
    near.down();
    db.writes(20..40);
    web.writes(20..40);
    let why = loop {
        if let Inbound::Host(news) = screen.next().await
            && let Way::Lost { why, .. } = news.way
        {
            assert_eq!(news.host.as_str(), "db1", "the other one is as near as before");
            break why;
        }
    };
    // Long before `ssh` notices anything: what is promised does not hang on it.
    assert!(why.ends_with("nothing was heard for 2.5 s"), "{why}");
    screen.until(|it| is_whole(it, "db1", 0..20) && is_whole(it, "web1", 0..40)).await;
    assert!(near.up());
    let window = screen.until(|it| is_whole(it, "db1", 0..40) && is_whole(it, "web1", 0..40)).await;
    assert_eq!(window.without, None);
    screen.close().await;
    db.end().await;
    web.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_of_two_hosts_go_into_one_file_also_when_the_way_is_cut_meanwhile() {
    const LINES: u32 = 6000;
    let Some(sshd) = sshd::Server::start() else { return };
    let (db, web) = (Host::start("db1", 0..LINES).await, Host::start("web1", 0..LINES).await);
    let client = sshd.path("client");
    let mut screen = Screen::open(vec![db.remote(&client), web.remote(&client)]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("all.log");
    let request = ExportRequest {
        path: path.display().to_string(),
        format: ExportFormat::Text,
        query: "-\"line 13\"".into(),
        sources: Vec::new(),
        muted: Vec::new(),
        from: None,
        until: None,
    };
    screen.link.requests_tx.send(Request::Export(Box::new(request))).await.expect("the hub listens");
    let mut is_cut = false;
    let news = loop {
        match screen.next().await {
            Inbound::Export(ExportNews::Writing { .. }) if !is_cut => {
                is_cut = true;
                sshd.cut();
            }
            Inbound::Export(ExportNews::Writing { .. }) => {}
            Inbound::Export(news) => break news,
            _ => {}
        }
    };
    let left = (0..LINES).filter(|it| !it.to_string().starts_with("13")).collect::<Vec<_>>();
    let ExportNews::Finished { records, gaps: 0, missing, .. } = news else { panic!("{news:?}") };
    assert_eq!((records, missing), (2 * left.len() as u64, Vec::new()));
    let text = fs::read_to_string(&path).expect("a file");
    let number = |it: &str| it.rsplit(' ').next().and_then(|it| it.parse::<u32>().ok()).expect("a number");
    for host in ["db1", "web1"] {
        let of_host = text.lines().filter(|it| it.starts_with(&format!("{host}:app: ")));
        assert_eq!(of_host.map(number).collect::<Vec<_>>(), left, "{host}");
    }
    let times: Vec<&str> = text.lines().map(|it| it.split(' ').nth(1).expect("a time")).collect();
    assert!(times.is_sorted(), "in the order of time");
    screen.close().await;
    db.end().await;
    web.end().await;
}

/// The other end of a pipe, frame by frame: a screen that does not keep to what it said.
struct Raw {
    child: Child,
    to_agent: ChildStdin,
    from_agent: BufReader<ChildStdout>,
}

impl Raw {
    fn open(remote: &Remote, readonly: bool) -> Self {
        let argv = argv(remote);
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("ssh");
        let (to_agent, from_agent) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut raw = Self { child, to_agent, from_agent: BufReader::new(from_agent) };
        while !raw.line().ends_with(GREETING) {}
        raw.says(&hello(readonly));
        raw
    }

    fn says(&mut self, frame: &ToAgent) {
        let line = serde_json::to_string(frame).expect("JSON") + "\n";
        self.to_agent.write_all(line.as_bytes()).expect("the way is open");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.from_agent.read_line(&mut line).expect("text");
        assert!(read > 0, "the way is open");
        line.trim_end().to_string()
    }

    fn until<T>(&mut self, fits: impl Fn(ToScreen) -> Option<T>) -> T {
        loop {
            let line = self.line();
            let frame = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if let Some(found) = fits(frame) {
                return found;
            }
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hello(readonly: bool) -> ToAgent {
    let visitor = Visitor { readonly, ..Visitor::inside("mallory") };
    ToAgent::Hello(Box::new(client::hello(visitor)))
}

/// Everything that changes something. A new request that does so belongs here: see `Request::changes`.
fn changes(host: &HostId, file: &str) -> Vec<Request> {
    let probe = ProbeId::new(host, "api");
    let incident = IncidentId::new(host, "INC-20240819-1452-aaaa");
    let until = Timestamp::MAX;
    let matchers = || vec!["kind=tcp".parse().expect("a matcher")];
    vec![
        Request::RunProbe(probe.clone()),
        Request::BurstProbe(probe.clone()),
        Request::AcknowledgeProbe(probe.clone()),
        Request::Acknowledge { probe, sticky: true, until: None },
        Request::Silence(Box::new(Silence {
            id: "s".into(),
            matchers: matchers(),
            from: Timestamp::UNIX_EPOCH,
            until,
            by: "mallory".into(),
            comment: String::new(),
        })),
        Request::Unsilence("s".into()),
        Request::Maintain(Box::new(Maintenance {
            name: "m".into(),
            matchers: matchers(),
            window: MaintenanceWindow::Once { from: Timestamp::UNIX_EPOCH, until },
            by: "mallory".into(),
        })),
        Request::EndMaintenance("m".into()),
        Request::TestNotifier("chat".into()),
        Request::RunBackup(JobId::new(host, "etc")),
        Request::VerifyBackup(RunId::new(host, "etc@1")),
        Request::Declare(DeclareRequest { title: "t".into(), severity: Severity::Sev1, impact_start: None }),
        Request::Note(NoteRequest { incident: None, at: None, text: "n".into() }),
        Request::Pin(PinRequest { incident: None, host: None, comment: String::new(), records: Vec::new() }),
        Request::ChangeIncident(incident, IncidentChange::Title("t".into())),
        Request::SaveDocument { incident: None, text: "t".into(), base_sha256: String::new() },
        Request::SaveDraft { incident: None, text: "t".into() },
        Request::SaveNoteDraft("t".into()),
        Request::Export(Box::new(ExportRequest {
            path: file.into(),
            format: ExportFormat::Text,
            query: String::new(),
            sources: Vec::new(),
            muted: Vec::new(),
            from: None,
            until: None,
        })),
        Request::StopExport,
        Request::ReloadConfig,
        Request::TakeOver,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_changes_something_comes_through_from_a_screen_that_only_reads_also_when_it_lies() {
    let Some(sshd) = sshd::Server::start() else { return };
    let db = Host::start("db1", 0..20).await;
    let remote = db.remote(&sshd.path("client"));
    // Its config is the last thing that a start says of alerts.
    let is_ready = async {
        while db.runtime.board().alerts.rules().zone.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, is_ready).await.expect("it starts");
    let before = db.runtime.board();
    let written = db.directory.path().join("written");
    let requests = changes(&HostId::new("db1"), &written.display().to_string());
    assert!(requests.iter().all(Request::changes));
    let refused = |frame| match frame {
        ToScreen::Inbound(inbound) => match *inbound {
            Inbound::Failed(why) => Some(why),
            Inbound::Done(done) => panic!("{done}"),
            _ => None,
        },
        _ => None,
    };
    let is_readonly = |frame| match frame {
        ToScreen::Welcome(welcome) => Some(welcome.visitor.readonly),
        ToScreen::Refused(why) => panic!("{why}"),
        _ => None,
    };
    let check = |raw: &mut Raw| {
        assert!(raw.until(is_readonly), "it is told that it only reads");
        // It says something else now.
        raw.says(&hello(false));
        for (number, request) in (1..).zip(&requests) {
            let request = Box::new(request.clone());
            for frame in [ToAgent::Request(request.clone()), ToAgent::Keep { number, request }] {
                raw.says(&frame);
                let why = raw.until(refused);
                assert!(why.starts_with("this screen is read-only"), "{why}");
            }
        }
        raw.says(&ToAgent::Yield);
    };
    // It says that it only reads, and does not keep to it.
    check(&mut Raw::open(&remote, true));
    // It says that it changes things, and its key may only look.
    let state = db.directory.path().join("state");
    sshd.forces(&format!("{} --state-dir {} agent pipe --readonly", env!("CARGO_BIN_EXE_hotseat"), state.display()));
    check(&mut Raw::open(&remote, false));
    let after = db.runtime.board();
    assert_eq!((&after.alerts, &after.incidents), (&before.alerts, &before.incidents));
    assert_eq!((&after.probes, &after.backups), (&before.probes, &before.backups));
    assert_eq!((after.config, after.standby), (before.config, before.standby));
    let kept = walk(&db.directory.path().join("state/incidents"));
    let is_ours = |it: &PathBuf| !it.file_name().is_some_and(|it| it.to_string_lossy().starts_with(".git"));
    assert_eq!(kept.into_iter().find(is_ours), None, "no note, draft or incident is kept");
    assert!(!written.exists());
    // A screen hears of it, and works.
    let mut screen = Screen::open(vec![remote]).await;
    screen.ask(tail(500)).await;
    screen.until(|it| is_whole(it, "db1", 0..20)).await;
    screen.close().await;
    db.end().await;
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = |it: PathBuf| if it.is_dir() { [vec![it.clone()], walk(&it)].concat() } else { vec![it] };
    entries.flat_map(|it| below(it.path())).collect()
}
