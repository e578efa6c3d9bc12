//! Runs one producer of a test against a real engine, with stand-in programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::ids::HostId;
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::logstore::block::PAGE_BYTES;
use crate::logstore::block::reader::BlockReader;
use crate::logstore::engine::Engine;
use crate::logstore::segment::lock;
use crate::logstore::source::{Snapshot, Source};
use crate::registry::node;
use crate::service::log::producer::{self, Feed, Ground, Producer, Stop};
use crate::service::log::spec;

/// Far longer than anything takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

type Work = Mutex<Option<(Stop, JoinHandle<()>)>>;

/// One producer at work. Its own source is called `log`.
pub struct Rig {
    directory: tempfile::TempDir,
    engine: Arc<Engine>,
    facts: Arc<Mutex<Vec<LogFact>>>,
    work: Work,
    pub follow: bool,
}

impl Rig {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            engine: Arc::new(Engine::default()),
            facts: Arc::default(),
            work: Mutex::default(),
            follow: true,
        }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a stand-in for a program, which runs in the test's directory; gives its argv.
    pub fn script(&self, name: &str, text: &str) -> Vec<String> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", self.directory().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        vec![path.to_str().unwrap().to_string()]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub fn start(&self, producer: impl Producer + 'static) {
        let sink = self.facts.clone();
        let ground = Ground {
            host: HostId::new("h"),
            state_dir: self.directory().join("state"),
            engine: self.engine.clone(),
            facts: Arc::new(move |fact| lock(&sink).push(fact)),
            reading: Arc::default(),
            veil: crate::service::veil::Veil::default(),
            cancel: CancellationToken::new(),
            follow: self.follow,
            first_pause: Duration::from_millis(1),
        };
        let (feed, stop) = Feed::open(ground, "log", &producer.origin()).unwrap();
        let thread = std::thread::spawn(move || producer::run(&producer, feed));
        *lock(&self.work) = Some((stop, thread));
    }

    /// Stops the producer and waits until everything of it is gone.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = lock(&self.work).take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    pub fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let seen = self.engine.changes();
            if holds(self) {
                return;
            }
            assert!(self.engine.wait_for_change(seen, LONG), "nothing changes any more\n{}", self.told());
        }
    }

    pub fn wait_for_state(&self, source: &str, holds: impl Fn(&SourceState) -> bool) {
        self.wait_until(|rig| rig.states(source).iter().any(&holds));
    }

    /// Everything that is known, for a failed test.
    fn told(&self) -> String {
        let mut text = String::new();
        for source in self.engine.sources() {
            let bytes = self.bytes(&source.name);
            let end = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(500)..]).into_owned();
            let (gaps, states) = (self.gaps(&source.name), self.states(&source.name));
            text.push_str(&format!("{}: {end:?}\n  gaps {gaps:?}\n  states {states:?}\n", source.name));
        }
        text
    }

    fn snapshot(&self, name: &str) -> Option<Snapshot> {
        self.engine.sources().iter().find(|it| it.name == name).map(Source::snapshot)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let Some(snapshot) = self.snapshot(name) else { return Vec::new() };
        snapshot.parts.iter().flat_map(|it| it.segment.read(0, it.size_bytes).unwrap()).collect()
    }

    pub fn lines(&self, name: &str) -> Vec<String> {
        String::from_utf8_lossy(&self.bytes(name)).lines().map(str::to_string).collect()
    }

    /// The records of a source that has one segment.
    pub fn records(&self, name: &str) -> Vec<String> {
        let Some(snapshot) = self.snapshot(name) else { return Vec::new() };
        let reader = BlockReader::new(jiff::tz::TimeZone::UTC);
        let [part] = snapshot.parts.as_slice() else { panic!("more than one segment") };
        let block = reader.stretch(&part.segment, part.size_bytes, 0, PAGE_BYTES).unwrap();
        let text = |it| String::from_utf8_lossy(block.bytes_of(it)).into_owned();
        block.spans().iter().map(text).collect()
    }

    /// The gaps between lines, without that at the end and without the seconds away, which nobody can know.
    pub fn gaps(&self, name: &str) -> Vec<String> {
        let Some(snapshot) = self.snapshot(name) else { return Vec::new() };
        let told = |kind: &GapKind| match kind {
            GapKind::Reconnected { resumed, .. } => format!("Reconnected {{ resumed: {resumed} }}"),
            kind => format!("{kind:?}"),
        };
        snapshot.parts.iter().filter_map(|it| Some(told(&it.gap.as_ref()?.kind))).collect()
    }

    pub fn states(&self, name: &str) -> Vec<SourceState> {
        let states = |fact: &LogFact| match fact {
            LogFact::State { source, state } if source.name() == name => Some(state.clone()),
            _ => None,
        };
        lock(&self.facts).iter().filter_map(states).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some((stop, thread)) = lock(&self.work).take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Checks the mistakes that are found in a config of `[[log]]`s.
pub fn check_mistakes(text: &str, expected: &[&str]) {
    let source = node::Source::new("c.toml", text);
    let root = source.parse().unwrap();
    for entry in root.get("log").unwrap().items() {
        spec::read(&entry, &[]);
    }
    let errors = source.errors();
    let found: Vec<String> = errors.iter().map(|it| format!("{}:{} {}", it.line, it.column, it.message)).collect();
    assert_eq!(found, expected, "{text}");
}
