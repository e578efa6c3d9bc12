//! Reads standard input or a named pipe into its spool, unpacked where it is packed.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::log::{GapKind, LogFact, SourceState};
use crate::domain::sanitise;
use crate::logstore::archive;
use crate::logstore::engine::Engine;
use crate::logstore::source::{GapMark, Source};
use crate::logstore::spool::Spool;
use crate::service::log::doubt::Doubter;
use crate::service::log::feeder::FactSink;

/// Least time between two facts that it has grown.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// Reads one stream into its spool.
pub struct StreamReader {
    /// Is told that there is more.
    pub engine: Arc<Engine>,
    /// Gets the facts.
    pub facts: FactSink,
    /// Ends it.
    pub stopped: CancellationToken,
    /// `None` is standard input.
    pub path: Option<PathBuf>,
    /// When it last said how much there is.
    pub reported_at: Option<Instant>,
    /// Whether its text is what it should be.
    pub doubter: Doubter,
}

impl StreamReader {
    /// Reads to the end of the stream; a pipe is opened again for its next writer.
    pub fn run(mut self, mut spool: Spool) {
        let source = spool.source();
        loop {
            let opened = match &self.path {
                None => std::io::stdin().as_fd().try_clone_to_owned().map(File::from),
                // Waits until somebody writes.
                Some(path) => File::open(path),
            };
            let mut is_packed = false;
            let result = opened.and_then(|stream| {
                self.state(&source, SourceState::Connected);
                let (mut stream, packed) = archive::unpacking(stream)?;
                is_packed = packed;
                spool.drain(stream.as_mut(), &mut |spool| self.grew(&spool.source()))
            });
            if self.stopped.is_cancelled() {
                return;
            }
            self.report(&source);
            let (kind, state) = match (result, &self.path) {
                (Ok(()), None) => (GapKind::Ended, SourceState::Ended),
                // The next writer of a pipe may come at any time.
                (Ok(()), Some(_)) => (GapKind::Ended, SourceState::Waiting("the writer closed the pipe".into())),
                (Err(error), _) if is_packed => {
                    let why = sanitise::text(&archive::damage(&error));
                    let read_bytes = source.bytes_came();
                    (GapKind::Broken { read_bytes, why: why.clone() }, SourceState::Failed(why))
                }
                (Err(error), _) => (GapKind::Failed(error.to_string()), SourceState::Failed(error.to_string())),
            };
            let goes_on = matches!(state, SourceState::Waiting(_));
            source.set_tail(Some(GapMark { kind: kind.clone(), at: clock::now() }));
            (self.facts)(LogFact::Gap { source: source.id.clone(), kind });
            self.state(&source, state);
            self.engine.grew();
            if !goes_on {
                return;
            }
        }
    }

    fn grew(&mut self, source: &Arc<Source>) -> bool {
        source.set_tail(None);
        self.engine.grew();
        if self.reported_at.is_none_or(|it| clock::monotonic().duration_since(it) >= REPORT_INTERVAL) {
            self.report(source);
        }
        !self.stopped.is_cancelled()
    }

    fn report(&mut self, source: &Arc<Source>) {
        self.reported_at = Some(clock::monotonic());
        (self.facts)(LogFact::Grew { source: source.id.clone(), size_bytes: source.size_bytes() });
        if let Some(doubt) = self.doubter.look(source) {
            (self.facts)(doubt);
        }
    }

    fn state(&self, source: &Arc<Source>, state: SourceState) {
        (self.facts)(LogFact::State { source: source.id.clone(), state });
    }
}
