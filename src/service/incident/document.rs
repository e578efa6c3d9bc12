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
use crate::domain::presence::ScreenId;
use crate::service::incident::files::{StoreError, create_dirs, replace};
use crate::service::incident::journal_file::lock;
use crate::service::incident::store::IncidentStore;

/// Its name in the incident's folder.
pub const FILE: &str = "incident.md";
/// Longest document: a book of 500 pages.
pub const DOCUMENT_MAX_BYTES: u64 = 1024 * 1024;
/// Documents whose text is remembered as the base of a merge: as many as editors may be open at once.
const BASES_MAX: usize = 32;
/// Bytes of all of them, the newest not counted; a usual document has ten thousand.
const BASES_MAX_BYTES: usize = 4 << 20;
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
    /// On disk.
    Done {
        /// What is on disk now.
        document: Document,
        /// Somebody had saved meanwhile and the text holds both edits; who, when that is known.
        merged: Option<Option<String>>,
    },
    /// Not saved: others changed the same lines.
    Conflict {
        /// What they wrote; its `draft` holds both texts between marks.
        document: Document,
        /// Who, when that is known.
        by: Option<String>,
    },
}

/// A document as it was handed out.
#[derive(Debug)]
pub(super) struct Base {
    /// To which screen, and which incident's.
    to: (Option<ScreenId>, String),
    text: String,
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

impl Draft {
    /// Its edits on top of a text; both between marks where they meet with others.
    fn over(&self, text: &str) -> String {
        if self.text == text {
            return self.text.clone();
        }
        match merge(&self.base, &self.text, text) {
            Merged::Clean(text) | Merged::Conflict(text) => text,
        }
    }
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
        let draft = self.take_draft(&name).map(|it| it.over(&text));
        // What was typed there is on disk by now.
        let draft = draft.filter(|it| *it != text);
        self.remember(&name, &text);
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
                self.remember(&name, &text);
                self.remove_draft(&name);
                self.remove_abandoned(&name, |it| it.over(&text) == text);
                let document = Document { sha256: sha256_hex(text.as_bytes()), text, draft: None };
                let merged = (!unchanged).then(|| self.saver(&name, &disk));
                self.savers.insert(name, (document.sha256.clone(), self.user.clone()));
                Saved::Done { document, merged }
            }
            Merged::Conflict(both) => {
                self.remember(&name, &disk);
                self.keep_draft(&name, &both, &disk, now)?;
                let by = self.saver(&name, &disk);
                let document = Document { sha256: sha256_hex(disk.as_bytes()), text: disk, draft: Some(both) };
                Saved::Conflict { document, by }
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
        // What was handed out to this screen last is what the edit began from, or what it was merged with.
        let to = (self.screen(), name);
        let base = self.bases.iter().rev().find(|it| it.to == to).map(|it| it.text.clone()).unwrap_or_default();
        self.keep_draft(&to.1, text, &base, now)
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

    /// Removes drafts of this person that nobody holds and of which nothing would be lost: those of a screen that
    /// lost its runtime and has saved what it held through another one.
    fn remove_abandoned(&self, name: &str, is_saved: impl Fn(&Draft) -> bool) {
        let own = self.draft_path(name);
        for (path, draft) in self.free_drafts(name) {
            if path != own && is_saved(&draft) {
                // One that cannot be removed is offered again, which loses nothing.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// A note was saved: drafts that nobody holds and that it ends are not needed any more.
    pub(super) fn note_saved(&self, text: &str) {
        self.remove_abandoned(NOTE_DRAFT, |it| {
            let typed = it.text.trim();
            text.starts_with(typed) || typed.ends_with(text)
        });
    }

    /// `<incident>.<user>@<host>.<pid>-<screen>.draft`, and without a screen `….<pid>.draft`: two screens of one
    /// person never overwrite each other's draft.
    fn draft_path(&self, name: &str) -> PathBuf {
        let screen = self.screen().map_or_else(String::new, |it| format!("-{}", it.0));
        let file = format!("{}{}{screen}.draft", self.draft_prefix(name), std::process::id());
        self.root.join(".drafts").join(file)
    }

    fn screen(&self) -> Option<ScreenId> {
        self.seat.as_ref().map(|it| it.screen)
    }

    /// True while somebody else works at the draft with this `<pid>` or `<pid>-<screen>`; `None`: it is no draft of ours.
    fn is_held(&self, holder: &str) -> Option<bool> {
        let (pid, screen) = match holder.split_once('-') {
            Some((pid, screen)) => (pid.parse::<u32>().ok()?, Some(ScreenId(screen.parse().ok()?))),
            None => (holder.parse().ok()?, None),
        };
        if pid != std::process::id() {
            return Some(is_running(pid));
        }
        let own = screen == self.screen();
        Some(!own && screen.is_some_and(|it| self.seat.as_ref().is_none_or(|seat| seat.taken.contains(&it))))
    }

    /// Who saved the text that is on disk, when this program did it.
    fn saver(&self, name: &str, disk: &str) -> Option<String> {
        let (sha256, user) = self.savers.get(name)?;
        (*sha256 == sha256_hex(disk.as_bytes()) && *user != self.user).then(|| user.clone())
    }

    fn draft_prefix(&self, name: &str) -> String {
        format!("{name}.{}@{}.", name::file_part(&self.user), name::file_part(self.host.as_str()))
    }

    /// The newest draft that nobody else holds. It becomes this screen's.
    fn take_draft(&self, name: &str) -> Option<Draft> {
        let (path, draft) = self.free_drafts(name).into_iter().max_by_key(|(_, draft)| draft.at)?;
        // If this fails it is found again under its old name.
        let _ = fs::rename(path, self.draft_path(name));
        Some(draft)
    }

    /// The drafts of this person that nobody else holds.
    fn free_drafts(&self, name: &str) -> Vec<(PathBuf, Draft)> {
        let prefix = self.draft_prefix(name);
        let Ok(entries) = fs::read_dir(self.root.join(".drafts")) else { return Vec::new() };
        let free = |entry: fs::DirEntry| {
            let file = entry.file_name();
            let holder = file.to_str()?.strip_prefix(&prefix)?.strip_suffix(".draft")?;
            if self.is_held(holder)? {
                return None;
            }
            let draft = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
            Some((entry.path(), draft))
        };
        entries.flatten().filter_map(free).collect()
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

    fn remember(&mut self, name: &str, text: &str) {
        let to = (self.screen(), name.to_string());
        self.bases.retain(|it| it.to != to || it.text != text);
        self.bases.push(Base { to, text: text.to_string() });
        let bytes = |bases: &[Base]| bases.iter().map(|it| it.text.len()).sum::<usize>();
        while self.bases.len() > BASES_MAX || (self.bases.len() > 1 && bytes(&self.bases[1..]) > BASES_MAX_BYTES) {
            self.bases.remove(0);
        }
    }

    fn base(&self, sha256: &str) -> Option<&str> {
        self.bases.iter().map(|it| it.text.as_str()).find(|it| sha256_hex(it.as_bytes()) == sha256)
    }
}

fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // "Not permitted" means that it runs as somebody else.
    pid.is_some_and(|it| rustix::process::test_kill_process(it) != Err(rustix::io::Errno::SRCH))
}
