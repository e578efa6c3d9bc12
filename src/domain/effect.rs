//! What the board asks of the world. Data, so that it can be tested, recorded and, in a replay, discarded.

use serde::{Deserialize, Serialize};

use crate::domain::alert::Change;
use crate::domain::ids::IncidentId;
use crate::domain::incident::MachineEntry;
use crate::domain::probe::Sample;

/// What the board asks of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Append what a machine saw to the journal of an open incident.
    AppendMachineEntry {
        /// The open incident.
        incident: IncidentId,
        /// What was seen.
        entry: MachineEntry,
    },
    /// Keep an outcome for the history.
    Record(Box<Sample>),
    /// Keep what alerts know and put deliveries into the outbox, all of it or nothing.
    Commit(Box<Change>),
}
