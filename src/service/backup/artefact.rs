//! Artefacts in a destination: what is there, how one is committed, verified and deleted.
//!
//! The order of writing is the promise. Data and manifest are written and synced under `.partial` names; then the data
//! gets its name, then the manifest gets its own: the commit point. Deleting goes the other way round. Whatever
//! is found half way by the next run is finished or taken back by [`sweep`].

use std::io::{self, Read};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::backup::manifest::{MANIFEST_BYTES_MAX, Manifest, job_of_name};
use crate::domain::backup::run::CopyState;
use crate::domain::sanitise;
use crate::service::backup::destination::Place;
use crate::service::backup::pass::{BLOCK_BYTES, Hashing};
use crate::service::backup::steps;

/// Appended to an artefact's name while it is written.
pub const PARTIAL: &str = ".partial";
const MANIFEST: &str = ".manifest.json";
const VERIFY: &str = ".verify.json";
const DELETING: &str = ".deleting";
const SUMS: &str = "SHA256SUMS";

/// What stands in `<artefact>.verify.json`: the last look at the copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VerifyMark {
    at: Timestamp,
    sha256_stored: String,
    /// `None`: found whole.
    error: Option<String>,
}

/// One artefact of a job in a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its file name.
    pub artefact: String,
    /// Its manifest, or in what way that is damaged.
    pub manifest: Result<Manifest, String>,
    /// How the copy stands, as far as can be told without reading it.
    pub state: CopyState,
}

/// Lists the artefacts of a job, oldest name first. A data file without a manifest is not a backup.
pub fn list(place: &dyn Place, job: &str) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for name in place.names()? {
        let Some(artefact) = name.strip_suffix(MANIFEST).filter(|it| job_of_name(it) == Some(job)) else { continue };
        let manifest = read_manifest(place, artefact)
            .and_then(|it| if it.job == job { Ok(it) } else { Err(format!("the manifest is of job `{}`", it.job)) });
        let state = match &manifest {
            Ok(manifest) => state(place, manifest),
            Err(error) => CopyState::Corrupt { error: error.clone() },
        };
        found.push(Found { artefact: artefact.to_string(), manifest, state });
    }
    Ok(found)
}

fn read_manifest(place: &dyn Place, artefact: &str) -> Result<Manifest, String> {
    let text = place
        .read_text(&format!("{artefact}{MANIFEST}"), MANIFEST_BYTES_MAX)
        .map_err(|error| format!("the manifest could not be read: {error}"))?;
    let manifest = Manifest::decode(&text)?;
    if manifest.artefact != artefact {
        return Err("the manifest is of another artefact".into());
    }
    Ok(manifest)
}

fn state(place: &dyn Place, manifest: &Manifest) -> CopyState {
    match place.size_bytes(&manifest.artefact) {
        Ok(Some(size)) if size == manifest.stored_bytes => {}
        Ok(Some(size)) => {
            return CopyState::Corrupt { error: format!("it has {size} bytes instead of {}", manifest.stored_bytes) };
        }
        Ok(None) => return CopyState::Missing { error: "the artefact is gone, its manifest is left".into() },
        Err(error) => return CopyState::Missing { error: error.to_string() },
    }
    let mark = place.read_text(&format!("{}{VERIFY}", manifest.artefact), MANIFEST_BYTES_MAX);
    let mark = mark.ok().and_then(|text| serde_json::from_str::<VerifyMark>(&text).ok());
    match mark.filter(|it| it.sha256_stored == manifest.sha256_stored) {
        Some(VerifyMark { at, error: None, .. }) => CopyState::Verified { at },
        Some(VerifyMark { error: Some(error), .. }) => CopyState::Corrupt { error: sanitise::text(&error) },
        None => CopyState::Stored,
    }
}

/// Gives written and synced data its name and commits it with its manifest.
///
/// # Errors
/// Nothing of it is left then.
pub fn commit(place: &dyn Place, manifest: &Manifest) -> io::Result<()> {
    let artefact = &manifest.artefact;
    let (data_partial, manifest_name) = (format!("{artefact}{PARTIAL}"), format!("{artefact}{MANIFEST}"));
    let manifest_partial = format!("{manifest_name}{PARTIAL}");
    let mut named = false;
    let mut work = || {
        let mut file = place.create_new(&manifest_partial)?;
        file.write_all(manifest.encode().as_bytes())?;
        file.sync()?;
        steps::reached("manifest written");
        place.rename_new(&data_partial, artefact)?;
        named = true;
        steps::reached("data named");
        place.rename_new(&manifest_partial, &manifest_name)?;
        steps::reached("manifest named");
        place.sync()
    };
    let result = work();
    if result.is_err() {
        // The data goes before the partial manifest, which proves that it is ours and uncommitted.
        let _ = place.remove(&manifest_name);
        if named {
            let _ = place.remove(artefact);
        }
        let _ = place.remove(&data_partial);
        let _ = place.remove(&manifest_partial);
    }
    result
}

/// Finishes or takes back what a killed run of this job left behind. The caller holds the job's lock.
pub fn sweep(place: &dyn Place, job: &str) -> io::Result<()> {
    let names = place.names()?;
    let has = |name: &str| names.binary_search_by(|it| it.as_str().cmp(name)).is_ok();
    for name in names.iter().filter(|it| job_of_name(it.trim_start_matches('.')) == Some(job)) {
        if let Some(artefact) = name.strip_suffix(DELETING).and_then(|it| it.strip_suffix(MANIFEST)) {
            finish_delete(place, artefact)?;
        } else if let Some(artefact) = name.strip_suffix(PARTIAL).and_then(|it| it.strip_suffix(MANIFEST)) {
            if !has(&format!("{artefact}{MANIFEST}")) {
                place.remove(artefact)?;
            }
            place.remove(name)?;
        } else if name.ends_with(PARTIAL) || (name.starts_with('.') && name.ends_with(".new")) {
            place.remove(name)?;
        }
    }
    Ok(())
}

/// Deletes an artefact: the manifest loses its name first, so that half a deletion is no backup.
pub fn delete(place: &dyn Place, artefact: &str) -> io::Result<()> {
    let manifest = format!("{artefact}{MANIFEST}");
    place.rename_new(&manifest, &format!("{manifest}{DELETING}"))?;
    steps::reached("manifest unnamed");
    finish_delete(place, artefact)
}

fn finish_delete(place: &dyn Place, artefact: &str) -> io::Result<()> {
    place.remove(artefact)?;
    steps::reached("data removed");
    place.remove(&format!("{artefact}{VERIFY}"))?;
    place.sync()?;
    place.remove(&format!("{artefact}{MANIFEST}{DELETING}"))
}

/// Writes `SHA256SUMS` anew from the manifests of every job in the folder, for `sha256sum -c`.
pub fn write_sums(place: &dyn Place) -> io::Result<()> {
    let mut text = String::new();
    for name in place.names()? {
        let Some(artefact) = name.strip_suffix(MANIFEST) else { continue };
        if let Ok(manifest) = read_manifest(place, artefact) {
            text.push_str(&format!("{}  {artefact}\n", manifest.sha256_stored));
        }
    }
    place.replace(SUMS, &text)
}

/// What reading a copy back found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Whole, now and as it was written.
    Whole,
    /// Damaged, in words.
    Corrupt(String),
    /// Not there or not readable, in words.
    Missing(String),
    /// The check was told to stop.
    Cancelled,
}

/// Reads a copy back: its size, the hash of its bytes, every zstd frame, the hash of what they decode to.
pub fn verify(
    place: &dyn Place,
    manifest: &Manifest,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> Verdict {
    match read_manifest(place, &manifest.artefact) {
        Ok(found) if found == *manifest => {}
        Ok(_) => return Verdict::Corrupt("its manifest differs from that of the other copies".into()),
        Err(error) => return Verdict::Corrupt(error),
    }
    let file = match place.read(&manifest.artefact) {
        Ok(file) => file,
        Err(error) => return Verdict::Missing(error.to_string()),
    };
    let mut stored = Hashing::new(file);
    let raw = match decode(&mut stored, manifest, cancel, progress) {
        Ok(Some(raw)) => raw,
        Ok(None) => return Verdict::Cancelled,
        Err(error) => return Verdict::Corrupt(format!("it cannot be decoded: {error}")),
    };
    // The frames may end before the file does.
    if let Err(error) = io::copy(&mut (&mut stored).take(manifest.stored_bytes + 1), &mut io::sink()) {
        return Verdict::Missing(error.to_string());
    }
    if stored.count() != manifest.stored_bytes {
        return Verdict::Corrupt(format!("it has {} bytes instead of {}", stored.count(), manifest.stored_bytes));
    }
    if stored.finish() != manifest.sha256_stored {
        return Verdict::Corrupt("the sha256 of the stored bytes differs".into());
    }
    if raw != (manifest.raw_bytes, manifest.sha256_raw.clone()) {
        return Verdict::Corrupt("it decodes to other bytes than were read".into());
    }
    Verdict::Whole
}

/// Decodes to nothing; gives the count and hash, `None` when told to stop.
fn decode(
    stored: &mut dyn Read,
    manifest: &Manifest,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Option<(u64, String)>> {
    // One byte more than there should be is enough to know; a hostile frame is not decoded to its end.
    let limit = manifest.raw_bytes.saturating_add(1);
    let mut raw = Hashing::new(zstd::Decoder::new(stored)?.take(limit));
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        if raw.read(&mut block)? == 0 {
            let bytes = raw.count();
            return Ok(Some((bytes, raw.finish())));
        }
        progress(raw.count());
    }
}

/// Remembers beside the artefact what a look at it found, and gives the copy's state.
pub fn mark(place: &dyn Place, manifest: &Manifest, verdict: &Verdict, now: Timestamp) -> io::Result<()> {
    let error = match verdict {
        Verdict::Whole => None,
        Verdict::Corrupt(error) => Some(error.clone()),
        Verdict::Missing(_) | Verdict::Cancelled => return Ok(()),
    };
    let mark = VerifyMark { at: now, sha256_stored: manifest.sha256_stored.clone(), error };
    let text = serde_json::to_string(&mark).map_err(io::Error::other)?;
    place.replace(&format!("{}{VERIFY}", manifest.artefact), &(text + "\n"))
}
