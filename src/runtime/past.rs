//! Answers what was known at an earlier instant, from the journal: on a thread of its own, which ends when nobody asks.
//!
//! A segment is folded once to find its events; boards are kept at some places of the segments that were folded last,
//! so that a step to the event before folds little. All of it is memory that can be forgotten at any time.

mod shelf;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::domain::ids::HostId;
use crate::domain::past::{EVENTS_MAX, FAILED, Found, Moment, Past, PastRequest, Step};
use crate::domain::request::Inbound;
use crate::runtime::journal::{self, Flusher};
use crate::runtime::past::shelf::Shelf;
use crate::service::Reply;

/// Questions that wait. A screen asks one at a time.
const ASKS_MAX: usize = 16;
/// The writer removes a segment no more often than it ends one, which takes minutes.
const GONE_MAX: usize = 3;
/// What was folded is kept this long after the last question: a person thinks between two steps.
const IDLE: Duration = Duration::from_secs(120);

type Ask = Box<dyn FnOnce(&mut Reader) + Send>;

/// Takes questions about the past.
pub struct PastDesk {
    state_dir: PathBuf,
    host: HostId,
    flusher: Arc<OnceLock<Flusher>>,
    // The thread's end takes itself out under this lock, so that no question is left with nobody to read it.
    asks_tx: Arc<Mutex<Option<SyncSender<Ask>>>>,
}

impl PastDesk {
    /// Makes one for the journal of a state directory; the thread starts with the first question.
    pub fn new(state_dir: &Path, host: &HostId) -> Self {
        Self {
            state_dir: state_dir.to_path_buf(),
            host: host.clone(),
            flusher: Arc::default(),
            asks_tx: Arc::default(),
        }
    }

    /// Has the journal of this very process written out before it is read.
    pub fn flush_with(&self, flusher: Flusher) {
        let _ = self.flusher.set(flusher);
    }

    /// Has a question answered. Never waits.
    pub fn ask(&self, request: PastRequest, reply: Reply) {
        let unasked = Arc::clone(&reply);
        let ask = Box::new(move |reader: &mut Reader| {
            let inbound = match reader.answer(&request) {
                Ok(past) => Inbound::Past(Box::new(past)),
                Err(error) => Inbound::Failed(format!("{FAILED}: {error}")),
            };
            // A screen that is gone needs no answer.
            let _ = reply(inbound);
        });
        if let Err(why) = self.send(ask) {
            let _ = unasked(Inbound::Failed(format!("{FAILED}: {why}")));
        }
    }

    fn send(&self, ask: Ask) -> Result<(), String> {
        let mut asks_tx = self.asks_tx.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = || "it is busy (ask again)".to_string();
        if let Some(tx) = &*asks_tx {
            return tx.try_send(ask).map_err(|_| busy());
        }
        let (tx, rx) = sync_channel(ASKS_MAX);
        let reader = Reader::new(&self.state_dir, &self.host, Arc::clone(&self.flusher));
        let kept = Arc::clone(&self.asks_tx);
        let thread = std::thread::Builder::new().name("past".into());
        thread
            .spawn(move || serve(reader, &rx, &kept))
            .map_err(|error| format!("no thread could be started: {error}"))?;
        tx.try_send(ask).map_err(|_| busy())?;
        *asks_tx = Some(tx);
        Ok(())
    }
}

impl Drop for PastDesk {
    fn drop(&mut self) {
        // The thread holds the slot too; without a sender in it, it ends at once.
        self.asks_tx.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn serve(mut reader: Reader, rx: &Receiver<Ask>, kept: &Mutex<Option<SyncSender<Ask>>>) {
    loop {
        let ask = match rx.recv_timeout(IDLE) {
            Ok(ask) => ask,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let mut slot = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(ask) = rx.try_recv() else {
                    *slot = None;
                    return;
                };
                ask
            }
        };
        ask(&mut reader);
    }
}

/// Reads a journal. Blocks.
pub struct Reader {
    host: HostId,
    flusher: Arc<OnceLock<Flusher>>,
    shelf: Shelf,
}

impl Reader {
    /// Makes one; nothing is read yet.
    pub fn new(state_dir: &Path, host: &HostId, flusher: Arc<OnceLock<Flusher>>) -> Self {
        Self { host: host.clone(), flusher, shelf: Shelf::new(&state_dir.join(journal::FOLDER)) }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// When the journal is there and cannot be read.
    pub fn answer(&mut self, request: &PastRequest) -> io::Result<Past> {
        if let Some(flusher) = self.flusher.get() {
            flusher.flush();
        }
        self.shelf.look()?;
        let found = self.find_again(request)?;
        let known_since = self.shelf.known_since();
        Ok(Past { host: self.host.clone(), generation: request.generation, known_since, found })
    }

    /// As [`Reader::find`], also while the oldest segments make room: what is left is what is known.
    fn find_again(&mut self, request: &PastRequest) -> io::Result<Found> {
        for _ in 0..GONE_MAX {
            match self.find(request) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.shelf.look()?,
                found => return found,
            }
        }
        self.find(request)
    }

    fn find(&mut self, request: &PastRequest) -> io::Result<Found> {
        let about = request.about.as_ref();
        let at = match request.step {
            Step::At(at) => at,
            Step::Before(at) => match self.shelf.event_before(at, about)? {
                Some(at) => at,
                None => return Ok(Found::Beginning),
            },
            Step::After(at) => match self.shelf.event_after(at, about)? {
                Some(at) => at,
                None => return Ok(Found::Present),
            },
        };
        let Some((board, gap)) = self.shelf.board(at)? else { return Ok(Found::Beginning) };
        let events = match self.shelf.event_before(at.saturating_add(NEXT).unwrap_or(at), about)? {
            Some(at) => self.shelf.events_at(at, about, EVENTS_MAX),
            None => Vec::new(),
        };
        Ok(Found::Moment(Box::new(Moment { at, events, gap, absent: Vec::new(), board })))
    }
}

/// The next instant.
const NEXT: jiff::SignedDuration = jiff::SignedDuration::from_nanos(1);

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::board::Board;

    #[test]
    fn a_segment_that_makes_room_while_it_is_looked_for_is_the_end_of_what_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join(journal::FOLDER);
        std::fs::create_dir(&folder).expect("made");
        let begin = Timestamp::from_second(1_800_000_000).expect("a time");
        let board = serde_json::to_string(&Board::default()).expect("a board");
        let paths = [0, 600].map(|after| {
            let at = begin + SignedDuration::from_secs(after);
            let path = folder.join(format!("{:014}-{after}-1.ndjson", at.as_millisecond()));
            let head = format!(r#"{{"version":1,"host":"h","at":"{at}","marked":true,"is_first":false"#);
            std::fs::write(&path, format!("{{\"snapshot\":{head},\"board\":{board}}}}}\n")).expect("written");
            path
        });
        let mut reader = Reader::new(dir.path(), &HostId::new("h"), Arc::default());
        reader.shelf.look().expect("read");
        let ask = |after: i64| PastRequest {
            host: None,
            generation: 1,
            step: Step::At(begin + SignedDuration::from_secs(after)),
            about: None,
        };
        std::fs::remove_file(&paths[0]).expect("removed");
        assert!(matches!(reader.find_again(&ask(60)).expect("no mistake"), Found::Beginning));
        assert!(matches!(reader.find_again(&ask(660)).expect("read"), Found::Moment(_)));
        assert_eq!(reader.shelf.known_since(), Some(begin + SignedDuration::from_secs(600)));
    }
}
