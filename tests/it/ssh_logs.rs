//! Logs of another host over a real OpenSSH server on the loopback.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use hotseat::config;
use hotseat::domain::fact::Fact;
use hotseat::domain::ids::HostId;
use hotseat::domain::log::{LogFact, SourceState};
use hotseat::service::log::{LogService, LogSpec};
use hotseat::service::{FactSender, ServiceSetup};
use tokio_util::sync::CancellationToken;

use crate::support::sshd::Server;

/// A deadline that only a broken test meets.
const LONG: Duration = Duration::from_secs(60);

fn specs(server: &Server, ssh: &str, client: &str) -> Vec<LogSpec> {
    let client = server.path(client);
    let text = format!("[[log]]\nname = \"web\"\nssh = {{ {ssh}, config = \"{}\" }}\n", client.display());
    let (config, errors) = config::parse("c.toml", &text);
    assert!(errors.is_empty(), "{errors:?}");
    config.logs
}

struct Reader {
    service: LogService,
    setup: ServiceSetup,
    states: Receiver<SourceState>,
    _state_dir: tempfile::TempDir,
}

impl Reader {
    fn start(specs: Vec<LogSpec>) -> Self {
        let state_dir = tempfile::tempdir().unwrap();
        let (facts, mut facts_rx) = FactSender::channel();
        let setup = ServiceSetup {
            host: HostId::new("h"),
            user: "tester".into(),
            state_dir: state_dir.path().to_path_buf(),
            facts,
            cancel: CancellationToken::new(),
        };
        let (states_tx, states) = sync_channel(1000);
        std::thread::spawn(move || {
            while let Some((_, fact)) = facts_rx.blocking_recv() {
                if let Fact::Log(LogFact::State { state, .. }) = fact {
                    let _ = states_tx.try_send(state);
                }
            }
        });
        Self { service: LogService::start_opened(&setup, specs), setup, states, _state_dir: state_dir }
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let sources = self.service.engine().sources();
        let Some(source) = sources.iter().find(|it| it.name == name) else { return Vec::new() };
        let parts = source.snapshot().parts;
        let bytes: Vec<u8> = parts.iter().flat_map(|it| it.segment.read(0, it.size_bytes).unwrap()).collect();
        String::from_utf8(bytes).unwrap().lines().map(str::to_string).collect()
    }

    fn gaps(&self, name: &str) -> Vec<String> {
        let sources = self.service.engine().sources();
        let source = sources.iter().find(|it| it.name == name).unwrap();
        let parts = source.snapshot().parts;
        parts.iter().filter_map(|it| Some(format!("{:?}", it.gap.as_ref()?.kind))).collect()
    }

    fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        let engine = self.service.engine();
        loop {
            let seen = engine.changes();
            if holds(self) {
                return;
            }
            let told: Vec<SourceState> = self.states.try_iter().collect();
            assert!(engine.wait_for_change(seen, LONG), "nothing changes any more: {told:?}");
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.setup.cancel.cancel();
        self.service.wait_until_stopped();
    }
}

fn write(file: &mut File, numbers: std::ops::Range<u32>) {
    let text: String = numbers.map(|it| format!("line {it}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_of_two_hosts_is_followed_through_lost_connections_and_a_rotation() {
    let Some(server) = Server::start() else { return };
    let path = server.path("app's log");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    write(&mut file, 0..2000);
    let ssh = format!("host = [\"web1\", \"web2\"], path = \"{}\"", path.display());
    let reader = Reader::start(specs(&server, &ssh, "client"));
    let names = ["web:web1", "web:web2"];
    let until = |number: u32| {
        reader.wait_until(|it| names.iter().all(|name| it.lines(name).last() == Some(&format!("line {number}"))));
    };
    until(1999);
    write(&mut file, 2000..2010);
    until(2009);
    server.cut();
    write(&mut file, 2010..2100);
    until(2099);
    server.cut();
    write(&mut file, 2100..2200);
    fs::rename(&path, server.path("app's log.1")).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    write(&mut file, 2200..2300);
    until(2299);
    let expected: Vec<String> = (0..2300).map(|it| format!("line {it}")).collect();
    for name in names {
        assert_eq!(reader.lines(name), expected, "{name}");
        let gaps = reader.gaps(name);
        let resumed = gaps.iter().filter(|it| it.starts_with("Reconnected") && it.contains("resumed: true")).count();
        assert_eq!((resumed, gaps.len(), gaps.last().map(String::as_str)), (2, 3, Some("Rotated")), "{gaps:?}");
    }
}

#[test]
fn a_program_of_another_host_is_followed_and_a_stranger_is_told_why_it_may_not() {
    let Some(server) = Server::start() else { return };
    let reader = Reader::start(specs(
        &server,
        r#"host = "web1", command = ["printf", "%s\n", "a b", "it's", "$HOME"]"#,
        "client",
    ));
    reader.wait_until(|it| it.lines("web").len() >= 3);
    assert_eq!(reader.lines("web")[..3], ["a b", "it's", "$HOME"]);
    let stranger = Reader::start(specs(&server, "host = \"web1\", path = \"/etc/hostname\"", "stranger_client"));
    let refused = loop {
        if let SourceState::Reconnecting { why, .. } = stranger.states.recv_timeout(LONG).expect("a state") {
            break why;
        }
    };
    assert!(refused.ends_with("Permission denied (publickey)."), "{refused}");
}
