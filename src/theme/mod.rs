//! Roles and their styles. Views name roles, never colours.
//!
//! A theme maps dotted names to styles through a palette; a name that is not given falls back by dropping
//! its last part (`probe.down.text` → `probe.down` → `probe`), and a theme may inherit another.

pub mod load;
pub mod role;

use ratatui::style::{Color, Modifier, Style};

use crate::theme::role::Role;

/// The sixteen colours that a terminal's palette decides, in the order of their SGR numbers.
pub const NAMED_COLORS: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

/// The styles in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    /// Name as `hotseat themes` lists it.
    pub name: String,
    styles: Vec<Style>,
    /// Draw with ASCII only (borders, sparklines, marks).
    pub ascii: bool,
}

impl Theme {
    /// Returns the style of a role.
    ///
    /// A role that is not dim takes dimness away from what it is drawn over: a bold key on the dim footer, the
    /// selection over a dim time.
    pub fn style(&self, role: Role) -> Style {
        let style = self.styles.get(role as usize).copied().unwrap_or_default();
        if style.add_modifier.contains(Modifier::DIM) { style } else { style.remove_modifier(Modifier::DIM) }
    }

    /// A theme without any colour: bold, reverse and underline only.
    pub fn mono() -> Self {
        let mut styles = vec![Style::default(); Role::ALL.len()];
        styles[Role::Selection as usize] = Style::default().add_modifier(Modifier::REVERSED);
        Self { name: "mono".into(), styles, ascii: false }
    }

    /// The same theme with or without characters beyond ASCII.
    #[must_use]
    pub fn with_ascii(mut self, ascii: bool) -> Self {
        self.ascii = ascii;
        self
    }
}
