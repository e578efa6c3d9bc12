//! The destinations of one run: open or failed, what is free there, what must be taken back.

use std::io;

use jiff::Timestamp;

use crate::domain::backup::manifest::artefact_name;
use crate::domain::backup::run::{CopyRow, CopyState};
use crate::domain::format;
use crate::service::backup::artefact::PARTIAL;
use crate::service::backup::destination::Place;
use crate::service::backup::folder::io_text;
use crate::service::backup::spec::NamedDestination;

/// Artefacts of one job and one second: runs by hand.
const NAMES_MAX: u32 = 100;

/// One destination during a run.
pub struct Target<'a> {
    /// Its name and kind.
    pub named: &'a NamedDestination,
    /// Open, or why it is left out from now on.
    pub place: Result<Box<dyn Place>, String>,
}

impl Target<'_> {
    /// The row of a destination that got nothing.
    pub fn failed_copy(&self) -> CopyRow {
        CopyRow {
            destination: self.named.name.clone(),
            location: self.named.destination.location(),
            state: CopyState::Failed { error: self.place.as_ref().err().cloned().unwrap_or_default() },
        }
    }
}

/// The first name that no destination has yet.
pub fn free_name(targets: &[Target<'_>], job: &str, started: Timestamp, extension: &str) -> Result<String, String> {
    let places = || targets.iter().filter_map(|it| it.place.as_ref().ok());
    for attempt in 1..=NAMES_MAX {
        let name = artefact_name(job, started, attempt, extension);
        let taken = |name: &str| places().any(|it| it.size_bytes(name).is_ok_and(|size| size.is_some()));
        if !taken(&name) && !taken(&format!("{name}.manifest.json")) {
            return Ok(name);
        }
    }
    Err(format!("{NAMES_MAX} artefacts of this second exist already"))
}

/// Takes back what was written under a partial name.
pub fn remove_partials(targets: &[Target<'_>], artefact: &str) {
    for place in targets.iter().filter_map(|it| it.place.as_ref().ok()) {
        // What cannot be removed now is removed by the job's next run.
        let _ = place.remove(&format!("{artefact}{PARTIAL}"));
    }
}

/// Warns when the last artefact would hardly fit.
pub fn warn_of_space(targets: &[Target<'_>], last_stored: Option<u64>, warnings: &mut Vec<String>) {
    let Some(last) = last_stored else { return };
    for target in targets {
        let Some(free) = target.place.as_ref().ok().and_then(|it| it.free_bytes()) else { continue };
        if free < last.saturating_add(last / 5) {
            let (free, last) = (format::bytes(free), format::bytes(last));
            warnings.push(format!("`{}` has {free} free, the last artefact took {last}", target.named.name));
        }
    }
}

/// Why a file could not be written; a full disk with the bytes needed and free.
pub fn write_error(place: &dyn Place, error: &io::Error, needed: u64) -> String {
    if error.kind() != io::ErrorKind::StorageFull {
        return format!("could not write: {}", io_text(error));
    }
    let free = place.free_bytes().map(|it| format!(", {} free", format::bytes(it))).unwrap_or_default();
    format!("no space left on device: about {} needed{free}", format::bytes(needed))
}
