//! The incident pane: the timeline of the open incident, its notes and its document.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::effect::Effect;
use crate::panes::{Context, Pane};
use crate::theme::Theme;

crate::commands! {
    /// Commands of the incident pane.
    IncidentCommand {
        Down = "incident.down", "Go down", ["j", "down"], "";
        Up = "incident.up", "Go up", ["k", "up"], "";
    }
}

/// The incident pane: the timeline of the open incident, its notes and its document.
#[derive(Debug, Default)]
pub struct IncidentPane {}

impl Pane for IncidentPane {
    type Command = IncidentCommand;
    const TITLE: &'static str = "INCIDENT";

    fn update(&mut self, _cx: &Context<'_>, command: IncidentCommand) -> Vec<Effect> {
        match command {
            IncidentCommand::Down | IncidentCommand::Up => Vec::new(),
        }
    }

    fn title(&self, _cx: &Context<'_>, _theme: &Theme) -> Line<'static> {
        Line::default()
    }

    fn view(&self, _cx: &Context<'_>, _theme: &Theme, _area: Rect, _buf: &mut Buffer) -> Option<Position> {
        None
    }
}
