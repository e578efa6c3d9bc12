//! The screen's whole state: a board, the panes, what lies over them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::app::effect::Effect;
use crate::app::event::Event;
use crate::domain::board::Board;
use crate::panes::{PaneId, Panes};

/// The screen's whole state.
#[derive(Debug)]
pub struct Model {
    /// What is known, kept equal to the runtime's board by its facts.
    pub board: Board,
    /// The panes.
    pub panes: Panes,
    /// The pane that gets keys.
    pub focus: PaneId,
    /// Times are shown in this zone.
    pub zone: TimeZone,
}

impl Model {
    /// Folds one event in and says what the world should do about it.
    pub fn update(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        if let Event::Inbound(crate::domain::request::Inbound::Fact(envelope)) = &event {
            // The runtime that owns the board has carried out its effects already.
            let _ = self.board.apply(now, envelope);
        }
        Vec::new()
    }
}
