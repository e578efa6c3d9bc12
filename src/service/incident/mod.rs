//! Incidents on disk: journals, documents, pins, drafts.

use crate::domain::ids::IncidentId;
use crate::domain::incident::{DeclareRequest, IncidentChange, MachineEntry, NoteRequest, PinRequest};
use crate::service::{Reply, ServiceSetup};

/// Reads and writes the incident folders and watches them for what others write.
#[derive(Clone)]
pub struct IncidentService {}

impl IncidentService {
    /// Reads what is there and starts watching it.
    pub fn start(_setup: &ServiceSetup) -> Self {
        Self {}
    }

    /// Opens an incident.
    pub fn declare(&self, _request: DeclareRequest, _reply: Reply) {}

    /// Adds a note; replies after it is on disk.
    pub fn note(&self, _request: NoteRequest, _reply: Reply) {}

    /// Copies log lines into an incident.
    pub fn pin(&self, _request: PinRequest, _reply: Reply) {}

    /// Changes a field.
    pub fn change(&self, _incident: IncidentId, _change: IncidentChange, _reply: Reply) {}

    /// Saves the document unless it changed on disk.
    pub fn save_document(&self, _incident: Option<IncidentId>, _text: String, _base_sha256: String, _reply: Reply) {}

    /// Replies with `Inbound::Document`.
    pub fn load_document(&self, _incident: Option<IncidentId>, _reply: Reply) {}

    /// Keeps the unsaved text of an editor.
    pub fn save_draft(&self, _incident: Option<IncidentId>, _text: String, _reply: Reply) {}

    /// Appends what a machine saw.
    pub fn append_machine(&self, _incident: IncidentId, _entry: MachineEntry) {}

    /// Waits until everything accepted is on disk (at shutdown).
    pub async fn flushed(&self) {}
}
