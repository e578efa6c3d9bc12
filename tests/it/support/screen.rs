//! A screen without a terminal: fixtures in, keys in, effects and pictures out.

use std::time::Duration;

use hotseat::app::effect::Effect;
use hotseat::app::event::Event;
use hotseat::app::model::{Model, Setup};
use hotseat::app::view::view;
use hotseat::domain::backup::manifest::{Manifest, SCHEMA};
use hotseat::domain::backup::run::{CopyRow, CopyState, Run, RunState};
use hotseat::domain::backup::{BackupFact, JobInfo};
use hotseat::domain::board::Board;
use hotseat::domain::fact::{Actor, Envelope, Fact};
use hotseat::domain::fleet::Fleet;
use hotseat::domain::host::{HostNews, Peer, Role, Way};
use hotseat::domain::ids::{HostId, IncidentId, JobId, ProbeId, RunId, SourceId};
use hotseat::domain::incident::entry::{Declare, Entry, EntryBody, Note};
use hotseat::domain::incident::fold::Incident;
use hotseat::domain::incident::{IncidentFact, Severity};
use hotseat::domain::key::{Key, KeyBinding, parse_sequence};
use hotseat::domain::log::{Cursor, Level, LogFact, Position, Record, Row, WindowRequest};
use hotseat::domain::presence::{PresenceFact, ScreenId, Spot, Via, Visitor, You};
use hotseat::domain::probe::health::Thresholds;
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phase, Phases, ProbeResult, Trouble};
use hotseat::domain::probe::{ProbeFact, ProbeSetup};
use hotseat::domain::request::{Inbound, Request};
use hotseat::panes::PaneId;
use hotseat::theme::load;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position as Cell, Rect};
use ratatui::style::Style;

use crate::support::log_engine;

/// Rounds of questions and answers between screen and logs for one event: each key asks once or twice.
const ROUNDS_MAX: usize = 8;

/// A model with the world around it that its fixtures need.
pub struct Desk {
    /// The screen.
    pub model: Model,
    /// The time of the next event.
    pub now: Timestamp,
    /// What was asked of the world, without questions for log rows (those are answered).
    pub effects: Vec<Effect>,
    seq: u64,
    /// The newest question for log rows.
    pub asked: Option<WindowRequest>,
    log: Vec<Row>,
}

impl Desk {
    /// An empty screen.
    pub fn new(width: u16, height: u16) -> Self {
        Self::with_keys(width, height, Vec::new())
    }

    /// An empty screen with keys bound by a config.
    pub fn with_keys(width: u16, height: u16, keys: Vec<KeyBinding>) -> Self {
        let now = at("14:51:32");
        let (themes, errors) = load::load(&[]);
        assert_eq!(errors, []);
        let setup = Setup {
            now,
            zone: TimeZone::get("Asia/Shanghai").expect("the zone is bundled"),
            size: (width, height),
            themes,
            theme: None,
            focus: PaneId::Services,
            keys,
            mouse: false,
            problems: Vec::new(),
        };
        let mut desk =
            Self { model: Model::new(setup), now, effects: Vec::new(), seq: 0, log: Vec::new(), asked: None };
        desk.event(Event::Resize { width, height });
        desk
    }

    /// The outage in its eighth minute: storage refuses, api times out, edge answers 502.
    pub fn outage(width: u16, height: u16) -> Self {
        let mut desk = Self::new(width, height);
        for fact in probes().into_iter().chain(backups()).chain(incident()) {
            desk.fact(fact);
        }
        desk.log = log_rows();
        for source in ["edge", "api", "storage"] {
            let (id, name) = (source_id(source), source.to_string());
            desk.fact(Fact::Log(LogFact::Opened {
                source: id.clone(),
                name,
                origin: format!("/var/log/{source}.log"),
            }));
            desk.fact(Fact::Log(LogFact::Grew { source: id, size_bytes: 91_234_567 }));
        }
        // The rows are news to the request that follows the tail.
        if let Some(window) = desk.asked.clone().map(|it| log_engine::answer(&desk.log, &it, desk.now)) {
            desk.event(Event::Inbound(Inbound::Window(Box::new(window))));
        }
        desk.effects.clear();
        desk
    }

    /// The outage on one of two screens at an agent: alice sits here, bob looks at the logs from another host.
    pub fn company(width: u16, height: u16) -> Self {
        let mut desk = Self::outage(width, height);
        let peer = Peer { role: Role::Agent, version: env!("CARGO_PKG_VERSION").into(), pid: 4242, since: desk.now };
        let way = Way::Attached { peer, readonly: false, ahead_ms: 0 };
        desk.event(Event::Inbound(Inbound::Host(Box::new(HostNews { host: host(), way }))));
        let alice = Visitor { via: Via::Local, ..Visitor::inside("alice") };
        let bob = Visitor { via: Via::Ssh("192.0.2.7".into()), ..Visitor::inside("bob") };
        let you = You { host: host(), screen: ScreenId(1), visitor: alice.clone() };
        desk.event(Event::Inbound(Inbound::You(Box::new(you))));
        for (screen, visitor) in [(ScreenId(1), alice), (ScreenId(2), bob)] {
            desk.fact(Fact::Presence(PresenceFact::Came { screen, visitor }));
        }
        desk.fact(Fact::Presence(PresenceFact::Moved { screen: ScreenId(2), spot: Spot::Logs }));
        desk.effects.clear();
        desk
    }

    /// The outage three seconds after the agent died.
    pub fn lost(width: u16, height: u16, can_take_over: bool) -> Self {
        let mut desk = Self::outage(width, height);
        let way = Way::Lost {
            since: desk.now - SignedDuration::from_secs(3),
            why: "agent pid 4242: the connection was closed".into(),
            retry_at: Some(desk.now + SignedDuration::from_secs(1)),
            can_take_over,
            ends: None,
        };
        desk.event(Event::Inbound(Inbound::Host(Box::new(HostNews { host: host(), way }))));
        desk.effects.clear();
        desk
    }

    /// The outage as two hosts see it, of which `web-1` was lost twelve seconds ago.
    pub fn fleet(width: u16, height: u16) -> Self {
        let alone = Self::outage(width, height);
        let mut first = alone.model.board.clone();
        first.host = Some(host());
        let twin = serde_json::to_string(&first).expect("JSON").replace(host().as_str(), "web-1");
        let second: Board = serde_json::from_str(&twin).expect("a board");
        let mut desk = Self::new(width, height);
        desk.model.fleet = Fleet::of_several();
        desk.log = alone.log;
        for (at, row) in desk.log.iter_mut().enumerate() {
            if let (1, Row::Record(record)) = (at % 2, row) {
                record.position.source = SourceId::new(&HostId::new("web-1"), record.position.source.name());
            }
        }
        let since = Timestamp::UNIX_EPOCH;
        let peer = Peer { role: Role::Agent, version: env!("CARGO_PKG_VERSION").into(), pid: 4242, since };
        let attached = Way::Attached { peer, readonly: false, ahead_ms: 0 };
        for board in [first, second] {
            let news = HostNews { host: board.host.clone().expect("named"), way: attached.clone() };
            desk.event(Event::Inbound(Inbound::Host(Box::new(news))));
            desk.event(Event::Inbound(Inbound::Snapshot(Box::new(board))));
        }
        let way = Way::Lost {
            since: desk.now - SignedDuration::from_secs(12),
            why: "Connection to web-1 closed by remote host".into(),
            retry_at: Some(desk.now + SignedDuration::from_secs(2)),
            can_take_over: false,
            ends: None,
        };
        desk.event(Event::Inbound(Inbound::Host(Box::new(HostNews { host: HostId::new("web-1"), way }))));
        desk.effects.clear();
        desk
    }

    /// Gives the screen an event and answers its questions for rows.
    pub fn event(&mut self, event: Event) {
        let mut events = vec![event];
        for _ in 0..ROUNDS_MAX {
            let mut next = Vec::new();
            for event in events {
                for effect in self.model.update(self.now, event) {
                    match effect {
                        Effect::Request(Request::Window(request)) => {
                            let window = Box::new(log_engine::answer(&self.log, &request, self.now));
                            self.asked = Some(*request);
                            next.push(Event::Inbound(Inbound::Window(window)));
                        }
                        Effect::Request(Request::LoadDocument(incident)) => {
                            next.push(Event::Inbound(document(incident.clone())));
                            self.effects.push(Effect::Request(Request::LoadDocument(incident)));
                        }
                        other => self.effects.push(other),
                    }
                }
            }
            if next.is_empty() {
                return;
            }
            events = next;
        }
    }

    /// A probe of a group that has failed with these words since the start, or is well.
    pub fn probe(&mut self, name: &str, group: Option<&str>, trouble: Option<&str>) {
        let mut setup = setup(name);
        setup.rules.group = group.map(Into::into);
        self.fact(Fact::Probe(ProbeFact::Configured { probe: ProbeId::new(&host(), name), setup }));
        let brief = trouble.and_then(|it| it.split([':', ' ']).next()).unwrap_or_default();
        for round in 0..12 {
            let result = if trouble.is_some() { ProbeResult::Fail } else { ProbeResult::Ok };
            let trouble = trouble.map(|it| Trouble::new(Cause::Refused, brief, it));
            self.fact(outcome(name, at("14:47:00"), round, result, 31, trouble));
        }
    }

    /// A probe of which nothing is known yet.
    pub fn probe_never_ran(&mut self, name: &str) {
        self.fact(Fact::Probe(ProbeFact::Configured { probe: ProbeId::new(&host(), name), setup: setup(name) }));
    }

    /// Lets the runtime see something.
    pub fn fact(&mut self, fact: Fact) {
        self.seq += 1;
        let envelope = Envelope { host: host(), seq: self.seq, at: self.now, actor: Actor::Runtime, fact };
        self.event(Event::Inbound(Inbound::Fact(Box::new(envelope))));
    }

    /// Two people are here: alice at this screen, bob at the logs of another.
    pub fn in_company(&mut self) {
        let alice = Visitor::inside("alice");
        let bob = Visitor { via: Via::Ssh("10.0.3.7".into()), ..Visitor::inside("bob") };
        let you = You { host: host(), screen: ScreenId(1), visitor: alice.clone() };
        self.event(Event::Inbound(Inbound::You(Box::new(you))));
        for (screen, visitor) in [(1, alice), (2, bob)] {
            self.fact(Fact::Presence(PresenceFact::Came { screen: ScreenId(screen), visitor }));
        }
        self.fact(Fact::Presence(PresenceFact::Moved { screen: ScreenId(2), spot: Spot::Logs }));
    }

    /// Presses keys, written as in the config: `2 g g ctrl-p`. A word in quotes is typed: `: "theme dark" enter`.
    pub fn press(&mut self, script: &str) {
        for (at, part) in script.split('"').enumerate() {
            let keys = match at % 2 {
                0 if part.trim().is_empty() => Vec::new(),
                0 => parse_sequence(part).unwrap_or_else(|error| panic!("{script}: {error}")),
                _ => part.chars().map(Key::char).collect(),
            };
            for key in keys {
                self.event(Event::Key(key));
            }
        }
    }

    /// Takes a shipped theme into use.
    pub fn wear(&mut self, theme: &str) {
        assert!(self.model.set_theme(theme), "{theme}");
    }

    /// The picture, with where the cursor stands.
    pub fn draw(&self, ascii: bool) -> (Buffer, Option<Cell>) {
        let (width, height) = self.model.size();
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        let theme = self.model.theme().clone().with_ascii(ascii);
        let cursor = view(&self.model, &theme, area, &mut buf).cursor;
        (buf, cursor)
    }

    /// The picture as text.
    pub fn text(&self) -> String {
        rows(&self.draw(false).0).join("\n")
    }
}

/// Rows of a buffer without blanks at their ends; the second cell of a wide character is left out.
pub fn rows(buf: &Buffer) -> Vec<String> {
    let row = |y: u16| {
        let mut text = String::new();
        let mut skip = 0;
        for x in buf.area.left()..buf.area.right() {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = buf[(x, y)].symbol();
            skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
            text.push_str(symbol);
        }
        text.trim_end().to_string()
    };
    (buf.area.top()..buf.area.bottom()).map(row).collect()
}

/// Text, and below each row a row of letters that stand for styles, explained at the end.
///
/// Without it a lost highlight would not be noticed. Cells in the style of most cells have no letter.
pub fn snapshot(buf: &Buffer, cursor: Option<Cell>) -> String {
    let mut styles: Vec<(Style, usize)> = Vec::new();
    for cell in &buf.content {
        match styles.iter_mut().find(|(style, _)| *style == cell.style()) {
            Some((_, count)) => *count += 1,
            None => styles.push((cell.style(), 1)),
        }
    }
    let plain = styles.iter().max_by_key(|(_, count)| *count).map(|(style, _)| *style);
    let marked: Vec<Style> = styles.into_iter().map(|(style, _)| style).filter(|it| Some(*it) != plain).collect();
    let letter = |style: Style| match marked.iter().position(|it| *it == style) {
        Some(at) => char::from_digit(at as u32 + 10, 36).unwrap_or('?'),
        None => ' ',
    };
    let mut text = String::new();
    for (y, row) in rows(buf).iter().enumerate() {
        let letters: String = (buf.area.left()..buf.area.right()).map(|x| letter(buf[(x, y as u16)].style())).collect();
        text.push_str(&format!("|{row}\n"));
        if !letters.trim().is_empty() {
            text.push_str(&format!("~{}\n", letters.trim_end()));
        }
    }
    for style in &marked {
        text.push_str(&format!("{} = {}\n", letter(*style), load::words(*style)));
    }
    text.push_str(&match cursor {
        Some(it) => format!("cursor at {},{}\n", it.x, it.y),
        None => "no cursor\n".to_string(),
    });
    text
}

/// A time of the day of the outage, in its zone.
pub fn at(clock: &str) -> Timestamp {
    format!("2024-08-19T{clock}+08:00").parse().expect("a clock time")
}

fn host() -> HostId {
    HostId::new("bastion")
}

fn source_id(name: &str) -> SourceId {
    SourceId::new(&host(), name)
}

fn probes() -> Vec<Fact> {
    // Name, what it finds from the start (o ok, d degraded, then the failure), brief, first failure.
    let failing = [
        ("storage-a", Cause::Refused, "refused", "refused: nothing listens on 10.0.3.7:9000", "14:43:58"),
        ("api", Cause::Timeout(Phase::Wait), "timeout", "timeout: no answer within 5s", "14:44:01"),
        ("edge-lb", Cause::Status, "502", "status is 502, expected status == 200", "14:44:06"),
        ("login", Cause::Status, "502", "status is 502, expected status == 200", "14:44:09"),
    ];
    let mut facts = Vec::new();
    let ok = ["billing", "cdn", "comments", "dns", "mail", "playlist", "profile", "queue", "radio", "recommend"];
    for name in failing.iter().map(|it| it.0).chain(["search"]).chain(ok) {
        facts.push(Fact::Probe(ProbeFact::Configured { probe: ProbeId::new(&host(), name), setup: setup(name) }));
    }
    for (number, name) in ok.iter().enumerate() {
        for round in 0..20_u64 {
            let took_ms = 12 + (number as u64 * 7 + round * 13) % 30;
            facts.push(outcome(name, at("14:45:00"), round, ProbeResult::Ok, took_ms, None));
        }
    }
    for round in 0..10 {
        let slow = Trouble::new(Cause::Slow, "slow 4.1s", "total is 4.1s, expected total < 800ms");
        let (result, took, trouble) =
            if round < 4 { (ProbeResult::Ok, 240, None) } else { (ProbeResult::Degraded, 4_100, Some(slow)) };
        facts.push(outcome("search", at("14:43:20"), round, result, took, trouble));
    }
    for (name, cause, brief, text, first) in failing {
        let begin = at(first) - SignedDuration::from_secs(60);
        for round in 0..14 {
            let trouble = (round >= 4).then(|| Trouble::new(cause, brief, text));
            let result = if round < 4 { ProbeResult::Ok } else { ProbeResult::Fail };
            facts.push(outcome(name, begin, round, result, 31 + round * 3, trouble));
        }
    }
    facts.push(Fact::Probe(ProbeFact::Acknowledged {
        probe: ProbeId::new(&host(), "storage-a"),
        by: "alice".into(),
        at: at("14:44:48"),
    }));
    facts
}

fn setup(name: &str) -> ProbeSetup {
    ProbeSetup {
        kind: "http".into(),
        target: format!("http://{name}.internal/health"),
        interval: Duration::from_secs(15),
        retry: Duration::from_secs(15),
        timeout: Duration::from_secs(5),
        thresholds: Thresholds::default(),
        expect: vec!["status == 200".into()],
        prefer: vec!["total < 800ms".into()],
        rules: Default::default(),
    }
}

fn outcome(
    name: &str,
    begin: Timestamp,
    round: u64,
    result: ProbeResult,
    took_ms: u64,
    trouble: Option<Trouble>,
) -> Fact {
    let mut phases = Phases::default();
    phases.add(Phase::Connect, Duration::from_millis(1));
    phases.add(Phase::Wait, Duration::from_millis(took_ms));
    let outcome = Outcome {
        at: begin + SignedDuration::from_secs(15 * round as i64),
        result,
        phases,
        trouble,
        evidence: Evidence::default(),
        lag: Duration::ZERO,
        latency_suspect: false,
    };
    Fact::Probe(ProbeFact::Outcome { probe: ProbeId::new(&host(), name), outcome: Box::new(outcome), next: None })
}

fn backups() -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, kind, source) in [("orders-db", "sqlite", "/srv/orders.db"), ("config", "file", "/etc/app.toml")] {
        facts.push(Fact::Backup(BackupFact::Configured {
            job: Box::new(JobInfo {
                id: JobId::new(&host(), name),
                kind: kind.into(),
                source: source.into(),
                schedule: Some("daily 01:00".into()),
                zone: Some("Asia/Shanghai".into()),
                destinations: vec!["disk".into()],
                keep: Some("last 7".into()),
            }),
        }));
    }
    let run = |job: &str, day: &str, state: RunState, bytes: u64| {
        let slot: Timestamp = format!("2024-08-{day}T01:00:00+08:00").parse().expect("a slot");
        let stored = state == RunState::Ok;
        Run {
            id: RunId::new(&host(), &format!("{job}@202408{day}T010000Z-k7q2")),
            job: JobId::new(&host(), job),
            state,
            slot: Some(slot),
            started: slot,
            consistent_at: stored.then_some(slot),
            duration_ms: stored.then_some(192_000),
            raw_bytes: stored.then_some(bytes * 3),
            stored_bytes: stored.then_some(bytes),
            copies: if stored {
                vec![CopyRow {
                    destination: "disk".into(),
                    location: "/backup/orders".into(),
                    state: CopyState::Verified { at: slot },
                }]
            } else {
                Vec::new()
            },
            error: (state == RunState::Failed).then(|| "no space left on `/backup`".to_string()),
            warnings: Vec::new(),
            manifest: stored.then(|| Box::new(manifest(job, day, slot, bytes))),
        }
    };
    let orders = vec![
        run("orders-db", "19", RunState::Ok, 1_288_490_188),
        run("orders-db", "18", RunState::Ok, 1_283_000_000),
        run("orders-db", "17", RunState::Failed, 0),
        run("orders-db", "16", RunState::Missed, 0),
    ];
    let config = vec![run("config", "19", RunState::Ok, 18_432)];
    for (job, runs) in [("orders-db", orders), ("config", config)] {
        facts.push(Fact::Backup(BackupFact::Loaded { job: JobId::new(&host(), job), runs }));
    }
    facts
}

fn manifest(job: &str, day: &str, slot: Timestamp, stored_bytes: u64) -> Manifest {
    let artefact = format!("{job}_202408{day}T010000+0800.sqlite.zst");
    Manifest {
        schema: SCHEMA,
        written_by: "hotseat 0.1.0".into(),
        job: job.into(),
        run: RunId::new(&host(), &format!("{job}@202408{day}T010000Z-k7q2")),
        host: "bastion".into(),
        started: slot,
        ended: slot + SignedDuration::from_secs(192),
        duration_ms: 192_000,
        slot: Some(slot),
        consistent_at: slot,
        source_kind: "sqlite".into(),
        source: "/srv/orders.db".into(),
        source_version: "sqlite 3.50.4".into(),
        consistency: "backup API, one read transaction".into(),
        consistent: true,
        raw_bytes: stored_bytes * 3,
        stored_bytes,
        sha256_raw: "5e1f0c9a".repeat(8),
        sha256_stored: "b81d7733".repeat(8),
        restore_commands: vec![
            format!("sha256sum {artefact}"),
            format!("zstd -d {artefact} -o orders.db"),
            "sqlite3 orders.db 'pragma integrity_check'".into(),
        ],
        artefact,
    }
}

fn document(incident: Option<IncidentId>) -> Inbound {
    let text = "# edge answers 502\n\n\
        ## What users see\n\n\
        Login and playback fail with 502 since 14:43:52. 用户无法登录, 歌单打不开。\n\n\
        ## What we know\n\n\
        - storage-a refuses connections since 14:43:58, before anything else went red\n\
        - /data/07 answers I/O errors, so the node took itself out of the pool\n\
        - api waits for storage and holds all 64 connections: that is why edge answers 502, not because edge is broken\n\n\
        ## What we do\n\n\
        1. fail over to storage-b (alice, asked 14:47)\n\
        2. shed load at the edge when the pool stays full (bob)\n";
    Inbound::Document { incident, text: text.into(), sha256: "0".repeat(64), draft: None }
}

fn incident() -> Vec<Fact> {
    let id = IncidentId::new(&host(), "INC-20240819-1446-k7q2");
    let entry = |number: u128, clock: &str, by: &str, body: EntryBody| Entry {
        id: uuid::Uuid::from_u128(number),
        at: at(clock),
        rec: at(clock),
        by: by.into(),
        prev: String::new(),
        body,
    };
    let note = |text: &str| EntryBody::Note(Note::new(text));
    let probe = |subject: &str, text: &str| EntryBody::Probe { subject: subject.into(), text: text.into() };
    let entries = vec![
        entry(1, "14:43:58", "agent", probe("bastion/storage-a", "up -> down: refused")),
        entry(2, "14:44:01", "agent", probe("bastion/api", "up -> down: timeout")),
        entry(3, "14:44:06", "agent", probe("bastion/edge-lb", "up -> down: 502")),
        entry(
            4,
            "14:46:10",
            "alice",
            EntryBody::Declare(Declare::new("edge answers 502", Severity::Sev2, Some(at("14:43:52")))),
        ),
        entry(5, "14:47:30", "alice", note("asked storage on-call to fail over, back in 5 min")),
        entry(6, "14:49:12", "bob", note("连接池已满 (64/64), api 不再接受请求")),
        entry(7, "14:50:40", "alice", note("storage-b takes reads, writes still fail")),
    ];
    vec![Fact::Incident(IncidentFact::Loaded(Box::new(Incident::fold(id, entries))))]
}

fn log_rows() -> Vec<Row> {
    let lines: &[(&str, &str, Level, &str)] = &[
        ("14:50:58", "edge", Level::Info, "GET /api/playlist 200 31ms"),
        ("14:51:02", "edge", Level::Warn, "upstream api slow: 2.4s req=8f2a"),
        ("14:51:03", "edge", Level::Info, "GET /healthz 200 1ms"),
        ("14:51:07", "api", Level::Info, "retry 3 of 5 for storage-a"),
        ("14:51:11", "storage", Level::Error, "mount /data/07 failed: I/O error"),
        ("14:51:14", "api", Level::Error, TRACE),
        ("14:51:18", "edge", Level::Error, "502 Bad Gateway GET /api/login"),
        ("14:51:22", "api", Level::Warn, "pool at 61 of 64 connections"),
        ("14:51:30", "api", Level::Error, "pool exhausted (64/64) waiting=812 req=8f2c"),
        ("14:51:31", "api", Level::Error, "数据库连接失败: timeout after 30000 ms"),
        ("14:51:31", "edge", Level::Warn, "upstream api marked down"),
    ];
    // Enough to fill the tallest screen, the telling ones last.
    let older = (0..40).map(|number| {
        let clock = format!("14:{:02}:{:02}", 45 + number / 8, number % 8 * 7);
        match number % 10 {
            4 => (clock, Level::Info, "GET /healthz 200 1ms".to_string()),
            7 => (clock, Level::Warn, format!("pool at {} of 64 connections", 20 + number)),
            _ => (clock, Level::Info, format!("GET /api/song/{} 200 {}ms", 4_000 + number * 37, 20 + number * 11 % 60)),
        }
    });
    let older: Vec<(String, Level, String)> = older.collect();
    let older = older.iter().map(|(clock, level, text)| (clock.as_str(), "edge", *level, text.as_str()));
    let all: Vec<_> = older.chain(lines.iter().copied()).collect();
    all.iter().enumerate().map(|(number, it)| log_row(number, it)).collect()
}

/// One record of several lines.
const TRACE: &str = "connect storage-a:9000 refused\n\
    java.net.ConnectException: Connection refused (storage-a:9000)\n\
    \u{20}   at com.example.storage.Pool.connect(Pool.java:214)\n\
    \u{20}   at com.example.storage.Pool.borrow(Pool.java:97)\n\
    \u{20}   at com.example.api.PlaylistHandler.get(PlaylistHandler.java:58)\n\
    Caused by: java.io.IOException: pool is closing";

fn log_row(number: usize, (clock, source, level, text): &(&str, &str, Level, &str)) -> Row {
    let word = format!("{level:?}").to_uppercase();
    let text = format!("2024-08-19T{clock}+08:00 {word} {text}");
    Row::Record(Record {
        level: Some(*level),
        time_span: Some(0..25),
        length_bytes: text.len() as u64,
        ..Record::new(
            Position {
                time: Some(at(clock)),
                source: source_id(source),
                cursor: Cursor::File { segment: 0, device: 1, inode: 1, offset: number as u64 * 100 },
            },
            text.lines().map(ToString::to_string).collect(),
        )
    })
}
