//! The document of an incident (`incident.md`) and the drafts of those who edit it.
//!
//! The file belongs to people. A save compares what is on disk with what the edit began from; when others
//! saved meanwhile the two edits are merged by line, and where they meet the person gets both.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::domain::format;
use crate::domain::ids::IncidentId;
use crate::domain::incident::fold::Incident;
use crate::domain::incident::journal::sha256_hex;
use crate::domain::incident::merge::{Merged, merge};
use crate::domain::incident::name;
use crate::service::incident::files::{StoreError, create_dirs, replace};
use crate::service::incident::journal_file::lock;
use crate::service::incident::store::IncidentStore;

/// Its name in the incident's folder.
pub const FILE: &str = "incident.md";
/// Longest document: a book of 500 pages.
pub const DOCUMENT_MAX_BYTES: u64 = 1024 * 1024;
/// Documents whose text is remembered as the base of a merge: as many as editors may be open at once.
const BASES_MAX: usize = 8;
/// The draft of the one-line note; no incident has this name.
const NOTE_DRAFT: &str = "note";

/// A document as an editor gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text on disk.
    pub text: String,
    /// Its hash.
    pub sha256: String,
    /// Unsaved text of an earlier session, brought up to date with the text on disk.
    pub draft: Option<String>,
}

/// What became of a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// On disk. `merged`: others had saved meanwhile, the text holds both edits.
    Done {
        /// What is on disk now.
        document: Document,
        /// Edits of others are in it.
        merged: bool,
    },
    /// Not saved: `document` is what others wrote, its `draft` holds both texts between marks.
    Conflict(Document),
}

#[derive(Serialize, Deserialize)]
struct Draft {
    /// When it was kept.
    at: Timestamp,
    /// The text the edit began from.
    base: String,
    /// The unsaved text.
    text: String,
}

/// The document that a declaration writes.
pub fn template(incident: &Incident, zone: &TimeZone) -> String {
    let title = incident.title.replace('\\', "\\\\").replace('"', "\\\"");
    let declared = format::full(incident.declared_at, zone);
    let mut text = format!("---\nid: {}\ntitle: \"{title}\"\n", incident.id.name());
    if !incident.log_book {
        text.push_str(&format!("severity: {}\n", incident.severity.number()));
    }
    text.push_str(&format!("declared: {declared}\nby: {}\n---\n\n# {}\n", incident.declared_by, incident.title));
    if !incident.log_book {
        text.push_str("\n## Impact\n\n## What happened\n\n## What was done\n\n## Follow-up\n");
    }
    text
}

/// Hash of the document in a folder; empty while there is none or it cannot be read.
pub fn sha256(dir: &Path) -> String {
    fs::read(dir.join(FILE)).map(|it| sha256_hex(&it)).unwrap_or_default()
}

impl IncidentStore {
    /// Reads the document, and the newest draft of this person that no running program holds.
    pub fn load_document(
        &mut self,
        incident: Option<&IncidentId>,
        now: Timestamp,
    ) -> Result<(IncidentId, Document), StoreError> {
        let name = self.target(incident, now)?;
        self.begin(&name, now)?;
        let id = self.load(&name)?.id.clone();
        let text = self.read_document(&name)?;
        let draft =
            self.take_draft(&name).filter(|it| it.text != text).map(|it| match merge(&it.base, &it.text, &text) {
                Merged::Clean(text) | Merged::Conflict(text) => text,
            });
        self.remember(&text);
        Ok((id, Document { sha256: sha256_hex(text.as_bytes()), text, draft }))
    }

    /// Saves the document, merged with what others saved since `base_sha256`.
    pub fn save_document(
        &mut self,
        incident: Option<&IncidentId>,
        text: &str,
        base_sha256: &str,
        now: Timestamp,
    ) -> Result<(IncidentId, Saved), StoreError> {
        let name = self.target(incident, now)?;
        self.begin(&name, now)?;
        let id = self.load(&name)?.id.clone();
        if text.len() as u64 > DOCUMENT_MAX_BYTES {
            return Err(StoreError::new(format!(
                "the document has {} bytes, more than {DOCUMENT_MAX_BYTES}",
                text.len()
            )));
        }
        let dir = self.dir(&name);
        let path = dir.join(FILE);
        // Between the comparison and the rename nobody else may save; the lock is the folder's.
        let folder = File::open(&dir).map_err(|error| StoreError::io("open", &dir, &error))?;
        lock(&folder, &dir)?;
        let disk = self.read_document(&name)?;
        let unchanged = sha256_hex(disk.as_bytes()) == base_sha256;
        let merged = if unchanged || disk == text {
            Merged::Clean(text.to_string())
        } else {
            // Without the base every difference is a conflict: the person decides.
            merge(self.base(base_sha256).unwrap_or_default(), text, &disk)
        };
        let saved = match merged {
            Merged::Clean(text) => {
                replace(&path, text.as_bytes())?;
                self.remember(&text);
                self.remove_draft(&name);
                let document = Document { sha256: sha256_hex(text.as_bytes()), text, draft: None };
                Saved::Done { document, merged: !unchanged }
            }
            Merged::Conflict(both) => {
                self.remember(&disk);
                self.keep_draft(&name, &both, &disk, now)?;
                Saved::Conflict(Document { sha256: sha256_hex(disk.as_bytes()), text: disk, draft: Some(both) })
            }
        };
        Ok((id, saved))
    }

    /// Keeps the unsaved text of an editor; empty text removes it.
    pub fn save_draft(&mut self, incident: Option<&IncidentId>, text: &str, now: Timestamp) -> Result<(), StoreError> {
        let name = self.target(incident, now)?;
        if text.is_empty() {
            self.remove_draft(&name);
            return Ok(());
        }
        // What this program handed out last is what the edit began from, or what it was merged with.
        let base = self.bases.last().cloned().unwrap_or_default();
        self.keep_draft(&name, text, &base, now)
    }

    /// Keeps the half-typed text of the one-line note; empty text removes it.
    pub fn save_note_draft(&mut self, text: &str, now: Timestamp) -> Result<(), StoreError> {
        if text.trim().is_empty() {
            self.remove_draft(NOTE_DRAFT);
            return Ok(());
        }
        self.keep_draft(NOTE_DRAFT, text, "", now)
    }

    /// The note that a session which is no longer running left half typed.
    pub fn take_note_draft(&self) -> Option<String> {
        self.take_draft(NOTE_DRAFT).map(|it| it.text)
    }

    fn keep_draft(&self, name: &str, text: &str, base: &str, now: Timestamp) -> Result<(), StoreError> {
        let path = self.draft_path(name);
        create_dirs(&self.root.join(".drafts"))?;
        let draft = Draft { at: now, base: base.to_string(), text: text.to_string() };
        let json = serde_json::to_vec(&draft).map_err(|error| StoreError::new(error.to_string()))?;
        replace(&path, &json)
    }

    fn remove_draft(&self, name: &str) {
        // Gone already is as good; one that cannot be removed is offered again, which loses nothing.
        let _ = fs::remove_file(self.draft_path(name));
    }

    /// `<incident>.<user>@<host>.<pid>.draft`: two screens of one person never overwrite each other's draft.
    fn draft_path(&self, name: &str) -> PathBuf {
        self.root.join(".drafts").join(format!("{}{}.draft", self.draft_prefix(name), std::process::id()))
    }

    fn draft_prefix(&self, name: &str) -> String {
        format!("{name}.{}@{}.", name::file_part(&self.user), name::file_part(self.host.as_str()))
    }

    /// The newest draft that no other running program holds. It becomes this program's.
    fn take_draft(&self, name: &str) -> Option<Draft> {
        let prefix = self.draft_prefix(name);
        let mut found: Option<(PathBuf, Draft)> = None;
        for entry in fs::read_dir(self.root.join(".drafts")).ok()?.flatten() {
            let file = entry.file_name();
            let pid = file.to_str().and_then(|it| it.strip_prefix(&prefix)).and_then(|it| it.strip_suffix(".draft"));
            let Some(pid) = pid.and_then(|it| it.parse::<u32>().ok()) else { continue };
            if pid != std::process::id() && is_running(pid) {
                continue;
            }
            let Some(draft) = fs::read(entry.path()).ok().and_then(|it| serde_json::from_slice::<Draft>(&it).ok())
            else {
                continue;
            };
            if found.as_ref().is_none_or(|(_, newest)| newest.at < draft.at) {
                found = Some((entry.path(), draft));
            }
        }
        let (path, draft) = found?;
        // If this fails it is found again under its old name.
        let _ = fs::rename(path, self.draft_path(name));
        Some(draft)
    }

    fn read_document(&self, name: &str) -> Result<String, StoreError> {
        let path = self.dir(name).join(FILE);
        let fail = |error: &io::Error| StoreError::io("read", &path, error);
        match fs::metadata(&path) {
            Ok(meta) if meta.len() > DOCUMENT_MAX_BYTES => {
                let text = format!("could not edit `{}`: it has more than {DOCUMENT_MAX_BYTES} bytes", path.display());
                return Err(StoreError::new(text));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.get(name).map(|it| template(it, &self.zone)).unwrap_or_default());
            }
            Err(error) => return Err(fail(&error)),
        }
        // Bytes that are not UTF-8 would be lost by a save: better not to edit them here.
        fs::read_to_string(&path).map_err(|error| fail(&error))
    }

    fn remember(&mut self, text: &str) {
        self.bases.retain(|it| it != text);
        self.bases.push(text.to_string());
        if self.bases.len() > BASES_MAX {
            self.bases.remove(0);
        }
    }

    fn base(&self, sha256: &str) -> Option<&str> {
        self.bases.iter().map(String::as_str).find(|it| sha256_hex(it.as_bytes()) == sha256)
    }
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // "Not permitted" means that it runs as somebody else.
    pid.is_some_and(|it| rustix::process::test_kill_process(it) != Err(rustix::io::Errno::SRCH))
}
