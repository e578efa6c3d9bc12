//! The services pane: every probe, red first.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::effect::Effect;
use crate::panes::{Context, Pane};
use crate::theme::Theme;

crate::commands! {
    /// Commands of the services pane.
    ServicesCommand {
        Down = "services.down", "Go down", ["j", "down"], "";
        Up = "services.up", "Go up", ["k", "up"], "";
    }
}

/// The services pane: every probe, red first.
#[derive(Debug, Default)]
pub struct ServicesPane {}

impl Pane for ServicesPane {
    type Command = ServicesCommand;
    const TITLE: &'static str = "SERVICES";

    fn update(&mut self, _cx: &Context<'_>, command: ServicesCommand) -> Vec<Effect> {
        match command {
            ServicesCommand::Down | ServicesCommand::Up => Vec::new(),
        }
    }

    fn title(&self, _cx: &Context<'_>, _theme: &Theme) -> Line<'static> {
        Line::default()
    }

    fn view(&self, _cx: &Context<'_>, _theme: &Theme, _area: Rect, _buf: &mut Buffer) -> Option<Position> {
        None
    }
}
