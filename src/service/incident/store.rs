//! The incident folders: where everything lies, and the operations that screens and commands share.
//!
//! ```text
//! <state>/incidents/
//!   2024/INC-20240819-1452-k7q2/
//!     incident.md                  for people; written once at the declaration, then theirs alone
//!     entries/alice@bastion1.ndjson  append-only, one file per person and host
//!     entries/agent@bastion1.ndjson  what machines saw
//!     pins/0001-api.log            evidence, its sha256 stands in the entry
//!   .drafts/                       unsaved text of editors
//!   .gitattributes                 *.ndjson merge=union
//! ```
//!
//! The journals are the truth. The front matter of `incident.md` says what was declared and is never
//! changed by the program afterwards: the current title, severity and status are folded from entries, so
//! that nothing is ever regenerated over what a person wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::ids::{HostId, IncidentId};
use crate::domain::incident::entry::{Declare, Entry, EntryBody, Note};
use crate::domain::incident::fold::Incident;
use crate::domain::incident::{DeclareRequest, IncidentChange, MachineEntry, MachineKind, NoteRequest, Severity, name};
use crate::domain::presence::ScreenId;
use crate::domain::sanitise;
use crate::service::incident::document::Base;
use crate::service::incident::files::{StoreError, create_dirs, write_new};
use crate::service::incident::journal_file::{JournalFile, NewEntry};

/// Longest note. Twenty pages; a longer text belongs in the document.
pub const NOTE_MAX_BYTES: usize = 128 * 1024;
/// Longest title in characters: two rows of a narrow screen.
pub const TITLE_MAX_CHARS: usize = 200;
/// Folders looked at to find the open incidents, newest first. Nobody leaves one open behind 200 others.
pub const SCAN_MAX: usize = 200;
/// Closed incidents and log-books that are loaded beside the open ones, to look back at.
pub const CLOSED_MAX: usize = 8;
/// Attempts to find a name that is not taken yet; two in one minute collide once in half a million.
const NAME_TRIES: usize = 8;

/// The writer of what machines saw.
pub const AGENT: &str = "agent";

/// The incidents of one state directory, for one person at a time on one host.
#[derive(Debug)]
pub struct IncidentStore {
    pub(super) root: PathBuf,
    pub(super) host: HostId,
    pub(super) user: String,
    // The screen for which it acts, when it acts for one of several.
    pub(super) seat: Option<Seat>,
    pub(super) zone: TimeZone,
    folders: BTreeMap<String, Folder>,
    // Journals, and folders of them, that could not be read the last time, and why.
    unreadable: BTreeMap<PathBuf, StoreError>,
    unfinished: Vec<String>,
    // Documents as they were handed out, newest last: the base of a later merge.
    pub(super) bases: Vec<Base>,
    // Who saved a document last, and its hash, by the incident's name. One for each document that was saved.
    pub(super) savers: BTreeMap<String, (String, String)>,
}

/// The screen for which a store acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Which.
    pub screen: ScreenId,
    /// Screens of this process that are not gone: their drafts are theirs.
    pub taken: BTreeSet<ScreenId>,
}

/// A loaded incident and how far its journals were read.
#[derive(Debug)]
struct Folder {
    incident: Incident,
    journals: BTreeMap<String, JournalFile>,
}

/// What an operation added to an incident, in journal order.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// Which incident.
    pub incident: IncidentId,
    /// The incident was not known before; it is `incident` as a whole now.
    pub new: bool,
    /// New entries of this process and of others.
    pub entries: Vec<Entry>,
}

/// What a look at the disk found changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An incident is new or its files were replaced.
    Loaded(IncidentId),
    /// Others added an entry.
    Entry(IncidentId, Box<Entry>),
    /// The document has another text.
    Document(IncidentId, String),
    /// Damage grew or went away.
    Damage(IncidentId, u32, u32),
    /// The folder is gone.
    Removed(IncidentId),
}

impl IncidentStore {
    /// Names a store; nothing is read or created yet.
    pub fn new(state_dir: &Path, host: &HostId, user: &str, zone: TimeZone) -> Self {
        Self {
            root: state_dir.join("incidents"),
            host: host.clone(),
            user: written(user),
            seat: None,
            zone,
            folders: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            unfinished: Vec::new(),
            bases: Vec::new(),
            savers: BTreeMap::new(),
        }
    }

    /// Does what follows in the name of a person, at one of several screens.
    pub fn act_as(&mut self, user: &str, seat: Option<Seat>) {
        self.user = written(user);
        self.seat = seat;
    }

    /// The directory that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of an incident.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name::year(name)).join(name)
    }

    /// Creates the directory with the files that tell git how to treat it.
    pub fn create(&self) -> Result<(), StoreError> {
        create_dirs(&self.root)?;
        write_new(&self.root.join(".gitattributes"), b"*.ndjson merge=union\n")?;
        write_new(&self.root.join(".gitignore"), b".drafts/\n.tmp-*\n")?;
        Ok(())
    }

    /// Names of all incidents and log-books, newest first.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for year in list(&self.root)?.into_iter().filter(|it| it.len() == 4 && it.bytes().all(|it| it.is_ascii_digit()))
        {
            let folders = list(&self.root.join(&year))?;
            names.extend(folders.into_iter().filter(|it| name::is_valid(it) && name::year(it) == year));
        }
        names.sort_by(|left, right| name::time_key(right).cmp(name::time_key(left)));
        Ok(names)
    }

    /// Loads the open incidents, today's log-book and the latest closed ones.
    pub fn load_recent(&mut self) -> Result<(), StoreError> {
        let mut closed = 0;
        for name in self.names()?.into_iter().take(SCAN_MAX) {
            let known = self.folders.contains_key(&name);
            let incident = self.load(&name)?;
            let (empty, open) = (incident.entries.is_empty(), incident.is_open());
            closed += usize::from(!empty && !open);
            if empty || (!open && closed > CLOSED_MAX && !known) {
                self.folders.remove(&name);
            }
        }
        Ok(())
    }

    /// Loads one incident, or reads on in its journals.
    pub fn load(&mut self, name: &str) -> Result<&Incident, StoreError> {
        if self.folders.contains_key(name) {
            self.refresh_folder(name)?;
        } else {
            let folder = self.read_folder(name)?;
            self.folders.insert(name.to_string(), folder);
        }
        self.get(name).ok_or_else(|| not_there(name))
    }

    /// A loaded incident.
    pub fn get(&self, name: &str) -> Option<&Incident> {
        self.folders.get(name).map(|it| &it.incident)
    }

    /// What could not be read of the incidents that were loaded, and why: everything else is there.
    pub fn unreadable(&self) -> impl Iterator<Item = &StoreError> {
        self.unreadable.values()
    }

    /// Names of folders in which the last look found no entry: somebody was declaring them that moment.
    pub fn unfinished(&self) -> &[String] {
        &self.unfinished
    }

    /// The loaded incidents, newest first.
    pub fn loaded(&self) -> Vec<&Incident> {
        let mut incidents: Vec<&Incident> = self.folders.values().map(|it| &it.incident).collect();
        incidents.sort_by(|left, right| (right.declared_at, &right.id).cmp(&(left.declared_at, &left.id)));
        incidents
    }

    /// The incident that notes go to when none is named: the newest open one of the loaded.
    pub fn current(&self) -> Option<&Incident> {
        self.loaded().into_iter().find(|it| it.is_open())
    }

    /// Looks for what others wrote since the last look.
    pub fn refresh(&mut self) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        self.unfinished.clear();
        for name in self.folders.keys().cloned().collect::<Vec<_>>() {
            changes.extend(self.refresh_folder(&name)?);
        }
        // Only names newer than what a start would load can be news.
        for name in self.names()?.into_iter().take(CLOSED_MAX) {
            if !self.folders.contains_key(&name) {
                let incident = self.load(&name)?;
                let (id, empty) = (incident.id.clone(), incident.entries.is_empty());
                if empty {
                    self.folders.remove(&name);
                    self.unfinished.push(name);
                } else {
                    changes.push(Change::Loaded(id));
                }
            }
        }
        Ok(changes)
    }

    /// Opens an incident.
    pub fn declare(&mut self, request: &DeclareRequest, now: Timestamp) -> Result<Added, StoreError> {
        let title = title(&request.title)?;
        self.create()?;
        let at = now.to_zoned(self.zone.clone());
        for _ in 0..NAME_TRIES {
            let name = name::of_declaration(&at, fastrand::u32(..));
            let dir = self.dir(&name);
            if dir.exists() {
                continue;
            }
            return self.found(&name, &title, request.severity, request.impact_start, now);
        }
        Err(StoreError::new("could not find a free name for the incident"))
    }

    /// Adds a note.
    pub fn note(&mut self, request: &NoteRequest, now: Timestamp) -> Result<Added, StoreError> {
        let text = sanitise::multiline(request.text.trim());
        if text.is_empty() {
            return Err(StoreError::new("an empty note was not saved"));
        }
        if text.len() > NOTE_MAX_BYTES {
            let text =
                format!("the note has {} bytes, more than {NOTE_MAX_BYTES}: put it into the document", text.len());
            return Err(StoreError::new(text));
        }
        let name = self.target(request.incident.as_ref(), now)?;
        let added = self.append(&name, &[self.personal(request.at, EntryBody::Note(Note::new(text.clone())))], now)?;
        self.note_saved(&text);
        Ok(added)
    }

    /// Changes a field.
    pub fn change(
        &mut self,
        incident: &IncidentId,
        change: &IncidentChange,
        now: Timestamp,
    ) -> Result<Added, StoreError> {
        let text = |it: &str| sanitise::multiline(it.trim());
        let body = match change {
            IncidentChange::Title(it) => EntryBody::Title { text: title(it)? },
            IncidentChange::Summary(it) => EntryBody::Summary { text: text(it) },
            IncidentChange::ActionTaken(it) => EntryBody::Action { text: text(it) },
            IncidentChange::Severity(severity) => EntryBody::Severity { severity: *severity },
            IncidentChange::Status(status) => EntryBody::Status { status: *status },
        };
        self.append(incident.name(), &[self.personal(None, body)], now)
    }

    /// Appends what machines saw, with one write and one fsync. All of it was done by the same person, in whose journal it
    /// then stands, or by none.
    pub fn append_machine(
        &mut self,
        incident: &IncidentId,
        entries: &[MachineEntry],
        now: Timestamp,
    ) -> Result<Added, StoreError> {
        let by = entries.first().and_then(|it| it.by.as_deref()).map(written);
        let news: Vec<NewEntry> = entries.iter().map(|it| of_machine(it, by.as_deref())).collect();
        self.append_to(incident.name(), &writer(by.as_deref()), &news, now)
    }

    /// The name of the incident meant: the one given, else the open one, else the day's log-book.
    pub fn target(&self, incident: Option<&IncidentId>, now: Timestamp) -> Result<String, StoreError> {
        if let Some(incident) = incident {
            let name = incident.name();
            return if name::is_valid(name) { Ok(name.to_string()) } else { Err(not_there(name)) };
        }
        let book = || name::of_log_book(now.to_zoned(self.zone.clone()).date());
        Ok(self.current().map_or_else(book, |it| it.id.name().to_string()))
    }

    pub(super) fn personal(&self, at: Option<Timestamp>, body: EntryBody) -> NewEntry {
        NewEntry { at, by: self.user.clone(), body }
    }

    /// Appends to the journal of the person who writes. A log-book that is not there yet is begun.
    pub(super) fn append(&mut self, name: &str, news: &[NewEntry], now: Timestamp) -> Result<Added, StoreError> {
        self.append_to(name, &writer(Some(&self.user)), news, now)
    }

    fn append_to(&mut self, name: &str, writer: &str, news: &[NewEntry], now: Timestamp) -> Result<Added, StoreError> {
        let begun = self.begin(name, now)?;
        self.load(name)?;
        let file = name::journal_file(writer, self.host.as_str());
        let dir = self.dir(name).join("entries");
        create_dirs(&dir)?;
        let folder = self.folders.get_mut(name).ok_or_else(|| not_there(name))?;
        let journal = folder.journals.entry(file.clone()).or_insert_with(|| JournalFile::new(dir.join(&file)));
        let grown = journal.append(news, now)?;
        if grown.replaced {
            let entries = grown.entries;
            let folder = self.read_folder(name)?;
            let incident = folder.incident.id.clone();
            self.folders.insert(name.to_string(), folder);
            return Ok(Added { incident, new: true, entries });
        }
        for entry in &grown.entries {
            folder.incident.add(entry);
        }
        Ok(Added { incident: folder.incident.id.clone(), new: begun, entries: grown.entries })
    }

    /// Makes sure that there is a folder to write to; true when it is new.
    pub(super) fn begin(&mut self, name: &str, now: Timestamp) -> Result<bool, StoreError> {
        if self.dir(name).is_dir() {
            return Ok(false);
        }
        if !name::is_log_book(name) {
            return Err(not_there(name));
        }
        self.create()?;
        let day = now.to_zoned(self.zone.clone()).date();
        self.found(name, &format!("log-book of {day}"), Severity::Sev4, None, now)?;
        Ok(true)
    }

    fn found(
        &mut self,
        name: &str,
        title: &str,
        severity: Severity,
        impact_start: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Added, StoreError> {
        let dir = self.dir(name);
        create_dirs(&dir.join("entries"))?;
        create_dirs(&dir.join("pins"))?;
        let host = self.host.to_string();
        let declare = Declare { title: title.to_string(), severity, impact_start, host };
        let mut added = match self.append(name, &[self.personal(None, EntryBody::Declare(declare))], now) {
            Ok(added) => added,
            Err(error) => {
                self.abandon(name);
                return Err(error);
            }
        };
        // The folder was loaded empty before the declaration told its host and title.
        let folder = self.read_folder(name)?;
        added.incident = folder.incident.id.clone();
        added.new = true;
        let text = super::document::template(&folder.incident, &self.zone);
        self.folders.insert(name.to_string(), folder);
        // The incident exists with its first entry; a document can be written later by whoever opens it.
        write_new(&dir.join(super::document::FILE), text.as_bytes())?;
        if let Some(folder) = self.folders.get_mut(name) {
            folder.incident.document_sha256 = super::document::sha256(&dir);
        }
        Ok(added)
    }

    /// Removes a folder whose declaration could not be written, unless somebody else wrote into it.
    fn abandon(&mut self, name: &str) {
        self.folders.remove(name);
        let dir = self.dir(name);
        let journal = dir.join("entries").join(name::journal_file(&writer(Some(&self.user)), self.host.as_str()));
        if fs::metadata(&journal).is_ok_and(|it| it.len() == 0) {
            // What stays behind has no entry and is not shown.
            let _ = fs::remove_file(&journal);
        }
        for it in [dir.join("entries"), dir.join("pins"), dir] {
            let _ = fs::remove_dir(it);
        }
    }

    fn read_folder(&mut self, name: &str) -> Result<Folder, StoreError> {
        let dir = self.dir(name);
        if !name::is_valid(name) || !dir.is_dir() {
            return Err(not_there(name));
        }
        let mut journals = BTreeMap::new();
        let mut entries = Vec::new();
        for file in journal_names(&dir, &mut self.unreadable) {
            let path = dir.join("entries").join(&file);
            let mut journal = JournalFile::new(path.clone());
            entries.extend(known(journal.refresh(), path, &mut self.unreadable).entries);
            journals.insert(file, journal);
        }
        let host = entries.iter().find_map(|it| match &it.body {
            EntryBody::Declare(it) if !it.host.is_empty() => Some(HostId::new(&it.host)),
            _ => None,
        });
        let mut incident = Incident::fold(IncidentId::new(&host.unwrap_or_else(|| self.host.clone()), name), entries);
        (incident.damaged_lines, incident.broken_links) = damage(&journals);
        incident.document_sha256 = super::document::sha256(&dir);
        Ok(Folder { incident, journals })
    }

    fn refresh_folder(&mut self, name: &str) -> Result<Vec<Change>, StoreError> {
        let dir = self.dir(name);
        let Some(folder) = self.folders.get_mut(name) else { return Ok(Vec::new()) };
        let id = folder.incident.id.clone();
        if !dir.is_dir() {
            self.folders.remove(name);
            return Ok(vec![Change::Removed(id)]);
        }
        let mut changes = Vec::new();
        let mut replaced = false;
        for file in journal_names(&dir, &mut self.unreadable) {
            let path = dir.join("entries").join(&file);
            let journal = folder.journals.entry(file).or_insert_with(|| JournalFile::new(path.clone()));
            let grown = known(journal.refresh(), path, &mut self.unreadable);
            replaced |= grown.replaced;
            for entry in grown.entries {
                folder.incident.add(&entry);
                changes.push(Change::Entry(id.clone(), Box::new(entry)));
            }
        }
        if replaced {
            let folder = self.read_folder(name)?;
            let changes = vec![Change::Loaded(folder.incident.id.clone())];
            self.folders.insert(name.to_string(), folder);
            return Ok(changes);
        }
        let incident = &mut folder.incident;
        let damage = damage(&folder.journals);
        if damage != (incident.damaged_lines, incident.broken_links) {
            (incident.damaged_lines, incident.broken_links) = damage;
            changes.push(Change::Damage(id.clone(), damage.0, damage.1));
        }
        let sha256 = super::document::sha256(&dir);
        if sha256 != incident.document_sha256 {
            incident.document_sha256.clone_from(&sha256);
            changes.push(Change::Document(id, sha256));
        }
        Ok(changes)
    }
}

/// Whose journal it is: the person's, else the machines'.
fn writer(person: Option<&str>) -> String {
    match person {
        // A person called `agent` must not write into the machines' file.
        Some(AGENT) => format!("{AGENT}_"),
        Some(person) => person.to_string(),
        None => AGENT.to_string(),
    }
}

fn of_machine(entry: &MachineEntry, by: Option<&str>) -> NewEntry {
    let (subject, text) = (sanitise::text(&entry.subject), sanitise::text(&entry.text));
    let body = match entry.kind {
        MachineKind::Probe => EntryBody::Probe { subject, text },
        MachineKind::Backup => EntryBody::Backup { subject, text },
        MachineKind::Alert => EntryBody::Alert { subject, text },
        MachineKind::Note => EntryBody::Note(Note { text: sanitise::multiline(&entry.text), from: Some(subject) }),
    };
    NewEntry { at: Some(entry.at), by: by.unwrap_or(AGENT).into(), body }
}

/// A name as it may stand in a journal.
fn written(user: &str) -> String {
    let user = sanitise::text(user.trim());
    if user.is_empty() { "unnamed".into() } else { user }
}

fn title(text: &str) -> Result<String, StoreError> {
    let title: String = sanitise::text(text.trim()).chars().take(TITLE_MAX_CHARS).collect();
    if title.is_empty() { Err(StoreError::new("an incident needs a title")) } else { Ok(title) }
}

fn damage(journals: &BTreeMap<String, JournalFile>) -> (u32, u32) {
    journals.values().map(JournalFile::damage).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

fn not_there(name: &str) -> StoreError {
    let mut error = StoreError::new(format!("there is no incident `{}`", sanitise::text(name)));
    error.hint = Some("`hotseat incident list` shows them all".into());
    error
}

/// The journals of a folder. When their directory cannot be read there are none, and it is kept why.
fn journal_names(dir: &Path, unreadable: &mut BTreeMap<PathBuf, StoreError>) -> Vec<String> {
    let path = dir.join("entries");
    let names = list(&path);
    known(names, path, unreadable).into_iter().filter(|it| it.ends_with(".ndjson")).collect()
}

/// What was read of a path; nothing when it could not be, and it is kept why. One journal that another account made for
/// itself must not hide what stands in the others.
fn known<T: Default>(read: Result<T, StoreError>, path: PathBuf, unreadable: &mut BTreeMap<PathBuf, StoreError>) -> T {
    match read {
        Ok(read) => {
            unreadable.remove(&path);
            read
        }
        Err(mut error) => {
            error.hint = Some("the rest is shown; give it to the account that runs hotseat".into());
            unreadable.insert(path, error);
            T::default()
        }
    }
}

/// Names in a directory, sorted; one that is not there has none. Names that are not UTF-8 are not ours.
fn list(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read the directory", dir, &error)),
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|it| it.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
