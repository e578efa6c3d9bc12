//! What the board knows of log sources: facts folded into one row for each.

use serde::{Deserialize, Serialize};

use crate::domain::ids::SourceId;
use crate::domain::log::{Doubt, LogFact, SourceState};

/// What the board knows of log sources.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogBoard {
    /// Sources in the order they were opened.
    pub sources: Vec<SourceStatus>,
}

/// One source on the board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its id.
    pub id: SourceId,
    /// Short name for the row prefix.
    pub name: String,
    /// Where it reads from.
    pub origin: String,
    /// Size in bytes of everything readable.
    pub size_bytes: u64,
    /// Whether lines can arrive.
    pub state: SourceState,
    /// Gaps reported since it was opened.
    pub gaps: u32,
    /// Fields that its config names as columns.
    #[serde(default)]
    pub columns: Vec<String>,
    /// What is wrong with its text.
    #[serde(default)]
    pub doubt: Option<Doubt>,
}

impl LogBoard {
    /// Folds one fact in.
    pub fn apply(&mut self, fact: &LogFact) {
        match fact {
            LogFact::Opened { source, name, origin } => {
                self.sources.retain(|it| it.id != *source);
                self.sources.push(SourceStatus {
                    id: source.clone(),
                    name: name.clone(),
                    origin: origin.clone(),
                    size_bytes: 0,
                    state: SourceState::Connected,
                    gaps: 0,
                    columns: Vec::new(),
                    doubt: None,
                });
            }
            LogFact::Doubt { source, doubt } => {
                if let Some(status) = self.get_mut(source) {
                    status.doubt.clone_from(doubt);
                }
            }
            LogFact::Columns { source, columns } => {
                if let Some(status) = self.get_mut(source) {
                    status.columns.clone_from(columns);
                }
            }
            LogFact::Closed { source } => self.sources.retain(|it| it.id != *source),
            LogFact::Grew { source, size_bytes } => {
                if let Some(status) = self.get_mut(source) {
                    status.size_bytes = *size_bytes;
                }
            }
            LogFact::Gap { source, .. } => {
                if let Some(status) = self.get_mut(source) {
                    status.gaps += 1;
                }
            }
            LogFact::State { source, state } => {
                if let Some(status) = self.get_mut(source) {
                    status.state = state.clone();
                }
            }
        }
    }

    /// Finds a source.
    pub fn get(&self, source: &SourceId) -> Option<&SourceStatus> {
        self.sources.iter().find(|it| it.id == *source)
    }

    fn get_mut(&mut self, source: &SourceId) -> Option<&mut SourceStatus> {
        self.sources.iter_mut().find(|it| it.id == *source)
    }
}
