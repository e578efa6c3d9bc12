//! Reads ahead of a walk while what was read is met: on a long way neither the cores nor the reader of what is
//! printed wait for each other.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::logstore::segment::lock;
use crate::logstore::walk::Walk;
use crate::logstore::walk::stretches::{Search, Searched, StretchId};

/// Stretches that are read and not met yet: 8 MiB, which take longer to print than to read.
const MAX_READ: usize = 32;

/// The stretches of a long way, read by whoever has a core to spare and met in order.
pub struct Ahead<'a> {
    search: Search<'a>,
    stretches: Vec<StretchId>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Stretches before this one are read, or somebody is about to.
    begun: usize,
    /// Stretches before this one were met.
    met: usize,
    /// Those that were read; nothing of one whose reading panicked.
    done: BTreeMap<usize, Option<io::Result<Searched>>>,
    /// Nobody meets any more.
    closed: bool,
}

/// Ends the reading when it is dropped.
pub struct Closing<'s, 'a>(pub &'s Ahead<'a>);

impl Drop for Closing<'_, '_> {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_all();
    }
}

impl<'a> Ahead<'a> {
    /// Everything before a walk that has not begun.
    pub fn of(walk: &Walk<'a>) -> Self {
        Self {
            search: walk.search(),
            stretches: walk.to_read(usize::MAX),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// True when there is something to share.
    pub fn is_long(&self) -> bool {
        self.stretches.len() > 1
    }

    /// Reads until everything was read or nobody meets it any more.
    pub fn work(&self) {
        let mut buffer = Vec::new();
        let mut state = lock(&self.state);
        while !state.closed && state.begun < self.stretches.len() {
            let Some(index) = state.begin() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let searched = self.read(index, &mut buffer);
            state = lock(&self.state);
            state.done.insert(index, searched);
            self.changed.notify_all();
        }
    }

    /// The next stretch at or behind a place, and what was found in it. Reads itself while it is waited for. `None`
    /// behind the last.
    pub fn next(&self, from: StretchId, buffer: &mut Vec<u8>) -> Option<(StretchId, io::Result<Searched>)> {
        let mut state = lock(&self.state);
        loop {
            let stretch = *self.stretches.get(state.met)?;
            let next = state.met;
            if let Some(searched) = state.done.remove(&next) {
                state.met += 1;
                self.changed.notify_all();
                match searched.filter(|_| stretch >= from) {
                    Some(searched) => return Some((stretch, searched)),
                    None => continue,
                }
            }
            match state.begin().filter(|it| *it < self.stretches.len()) {
                Some(index) => {
                    drop(state);
                    let searched = self.read(index, buffer);
                    state = lock(&self.state);
                    state.done.insert(index, searched);
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn read(&self, index: usize, buffer: &mut Vec<u8>) -> Option<io::Result<Searched>> {
        // What panics is read again when it is its turn, and is said then.
        catch_unwind(AssertUnwindSafe(|| self.search.read(self.stretches[index], buffer))).ok()
    }
}

impl State {
    /// The number of the next stretch, unless enough are read.
    fn begin(&mut self) -> Option<usize> {
        let index = self.begun;
        (index < self.met + MAX_READ).then(|| {
            self.begun += 1;
            index
        })
    }
}
