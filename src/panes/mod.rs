//! The panes: one folder each, one line in `panes!` each.

pub mod backups;
pub mod incident;
pub mod logs;
pub mod services;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

use crate::app::command::{CommandSpec, CommandTable};
use crate::app::effect::Effect;
use crate::domain::board::Board;
use crate::domain::fleet::Fleet;
use crate::domain::host::Way;
use crate::domain::ids::HostId;
use crate::domain::key::Key;
use crate::domain::request::Inbound;
use crate::domain::sanitise;
use crate::theme::Theme;
use crate::theme::role::Role;
use crate::widgets::wrap;

/// What a pane may look at while it updates or draws.
pub struct Context<'a> {
    /// The time.
    pub now: Timestamp,
    /// Times are shown in this zone.
    pub zone: &'a TimeZone,
    /// What is known.
    pub board: &'a Board,
    /// Columns of the pane's body, without its title row.
    pub width: u16,
    /// Rows of the pane's body, without its title row.
    pub height: u16,
    /// The pane gets the keys.
    pub focused: bool,
    /// The name under which what this screen asks is recorded; empty until it is known.
    pub me: &'a str,
    /// How the hosts are reached.
    pub reach: Reach<'a>,
}

/// How the hosts of a screen are reached, and whose boards have come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reach<'a> {
    /// The way to each host.
    pub ways: Option<&'a BTreeMap<HostId, Way>>,
    /// The boards of several hosts.
    pub fleet: Option<&'a Fleet>,
}

impl Reach<'_> {
    /// True when the board of a host has come; `board` is what is drawn.
    pub fn has_come(&self, board: &Board, host: &HostId) -> bool {
        match self.fleet.filter(|it| it.is_of_several()) {
            Some(fleet) => fleet.boards().any(|(it, _)| it == host),
            None => board.host.is_some(),
        }
    }
}

impl Context<'_> {
    /// Hosts of which nothing has come yet, with why and when they are tried again. A pane that has nothing to show
    /// says this: what is not known is not "none".
    pub fn absent(&self) -> Vec<String> {
        let has_come = |host: &HostId| self.reach.has_come(self.board, host);
        let ways = self.reach.ways.into_iter().flatten().filter(|(host, _)| !has_come(host));
        ways.filter_map(|(host, way)| way.absence(host, self.now)).map(|it| sanitise::text(&it)).collect()
    }

    /// Draws why there is nothing to show yet; `false` when there simply is nothing.
    pub fn draw_absent(&self, theme: &Theme, area: Rect, buf: &mut Buffer) -> bool {
        let absent = self.absent();
        let width = usize::from(area.width);
        let mut lines = absent.iter().flat_map(|it| wrap::wrap_at_blanks(it, width)).peekable();
        for row in area.rows() {
            let Some(mut text) = lines.next() else { break };
            if row.y + 1 == area.bottom() && lines.peek().is_some() {
                // What was cut must not read as if it were all.
                text = wrap::cut(&format!("{text} {}", lines.next().unwrap_or_default()), width, theme.ascii);
            }
            buf.set_stringn(row.x, row.y, text, width, theme.style(Role::ProbeUnknown));
        }
        !absent.is_empty()
    }
}

/// A part of the screen with its own state, commands and view.
///
/// `update`, `key` and `inbound` are the only ways in; `view` changes nothing.
pub trait Pane: Default {
    /// Its commands.
    type Command: CommandTable;
    /// Its word in the title row, upper case.
    const TITLE: &'static str;

    /// Carries out a command.
    fn update(&mut self, cx: &Context<'_>, command: Self::Command) -> Vec<Effect>;

    /// True while an input of the pane owns every key but Esc, Ctrl-P and Ctrl-C (Esc comes through `key` as well).
    fn captures_keys(&self) -> bool {
        false
    }

    /// Takes a key while `captures_keys`.
    fn key(&mut self, _cx: &Context<'_>, _key: &Key) -> Vec<Effect> {
        Vec::new()
    }

    /// Takes a paste while `captures_keys`.
    fn paste(&mut self, _cx: &Context<'_>, _text: &str) -> Vec<Effect> {
        Vec::new()
    }

    /// Sees what came from the runtime, after the board took it in.
    fn inbound(&mut self, _cx: &Context<'_>, _inbound: &Inbound) -> Vec<Effect> {
        Vec::new()
    }

    /// The body's size may have changed.
    fn resized(&mut self, _cx: &Context<'_>) -> Vec<Effect> {
        Vec::new()
    }

    /// Wheel or click at a row of the body, counted from its top.
    fn mouse(&mut self, _cx: &Context<'_>, _mouse: crate::app::event::Mouse) -> Vec<Effect> {
        Vec::new()
    }

    /// Closes the pane's innermost open thing (detail, search, chip editor). `false`: nothing was open.
    fn back(&mut self, _cx: &Context<'_>) -> bool {
        false
    }

    /// Like `back`, with what the world should do about it; `None`: nothing was open.
    ///
    /// This is what the screen calls. A pane overrides it when closing a thing needs an answer from outside:
    /// the logs ask for the rows of the query that is in force again.
    fn close(&mut self, cx: &Context<'_>) -> Option<Vec<Effect>> {
        self.back(cx).then(Vec::new)
    }

    /// True while the pane shows something that wants the whole screen (a detail view, the editor).
    fn wants_zoom(&self) -> bool {
        false
    }

    /// When the pane must be drawn again though nothing happens (a countdown).
    fn next_wake(&self, _cx: &Context<'_>) -> Option<Timestamp> {
        None
    }

    /// The instant of `next_wake` (of this pane or another) has come: what waits for time may be done now.
    fn woken(&mut self, _cx: &Context<'_>) -> Vec<Effect> {
        Vec::new()
    }

    /// Rows of the body that the pane can fill; the rest goes to the logs. Should not jump about with every fact.
    fn wanted_rows(&self, _cx: &Context<'_>) -> u16 {
        u16::MAX
    }

    /// What `quit` should ask about because it was not saved, in words: `the document of INC-0819-k7q2`.
    fn unsaved(&self) -> Option<String> {
        None
    }

    /// Key and meaning for the footer while `captures_keys`, most important first.
    fn typing_hints(&self) -> &'static [(&'static str, &'static str)] {
        &[("enter", "ok"), ("esc", "cancel")]
    }

    /// Commands and their meaning for the footer while something of the pane gives its keys another one.
    fn mode_hints(&self) -> &'static [(Self::Command, &'static str)] {
        &[]
    }

    /// The screen is about to end: gives out unsaved text (`Request::SaveDraft`). Called on every way out, also signals.
    fn leaving(&mut self, _cx: &Context<'_>) -> Vec<Effect> {
        Vec::new()
    }

    /// What stands after the title in the title row: counts, chips, state. What is wider than `room` cells is cut.
    fn title(&self, cx: &Context<'_>, theme: &Theme, room: usize) -> Line<'static>;

    /// Draws the body; returns where the terminal cursor belongs while an input is open.
    fn view(&self, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position>;
}

macro_rules! panes {
    ($($field:ident: $id:ident = $pane:ty,)*) => {
        /// Names a pane.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum PaneId {
            $(#[doc = concat!("The ", stringify!($field), " pane.")] $id,)*
        }

        /// All panes.
        #[derive(Debug, Default)]
        pub struct Panes {
            $(#[doc = concat!("The ", stringify!($field), " pane.")] pub $field: $pane,)*
        }

        /// A command of one of the panes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum PaneCommand {
            $(#[doc = concat!("Of the ", stringify!($field), " pane.")] $id(<$pane as Pane>::Command),)*
        }

        impl PaneId {
            /// All panes in screen order.
            pub const ALL: &'static [PaneId] = &[$(PaneId::$id,)*];

            /// The name in the config and in command names.
            pub fn name(self) -> &'static str {
                match self {
                    $(PaneId::$id => stringify!($field),)*
                }
            }

            /// The word in the title row.
            pub fn title(self) -> &'static str {
                match self {
                    $(PaneId::$id => <$pane as Pane>::TITLE,)*
                }
            }

            /// The pane's command table.
            pub fn specs(self) -> &'static [CommandSpec] {
                match self {
                    $(PaneId::$id => <<$pane as Pane>::Command as CommandTable>::SPECS,)*
                }
            }

            /// The pane's commands, in table order.
            pub fn commands(self) -> Vec<PaneCommand> {
                match self {
                    $(PaneId::$id => {
                        <<$pane as Pane>::Command as CommandTable>::ALL.iter().copied().map(PaneCommand::$id).collect()
                    })*
                }
            }

            /// Finds a command of this pane by name.
            pub fn command(self, name: &str) -> Option<PaneCommand> {
                match self {
                    $(PaneId::$id => <<$pane as Pane>::Command as CommandTable>::find(name).map(PaneCommand::$id),)*
                }
            }
        }

        impl PaneCommand {
            /// The pane that it belongs to.
            pub fn pane(self) -> PaneId {
                match self { $(PaneCommand::$id(_) => PaneId::$id,)* }
            }

            /// Its row in the pane's table.
            pub fn spec(self) -> &'static CommandSpec {
                match self { $(PaneCommand::$id(command) => command.spec(),)* }
            }
        }

        impl Panes {
            /// Carries out a command.
            pub fn update(&mut self, cx: &Context<'_>, command: PaneCommand) -> Vec<Effect> {
                match command {
                    $(PaneCommand::$id(command) => self.$field.update(cx, command),)*
                }
            }

            /// See [`Pane::captures_keys`].
            pub fn captures_keys(&self, pane: PaneId) -> bool {
                match pane { $(PaneId::$id => self.$field.captures_keys(),)* }
            }

            /// See [`Pane::key`].
            pub fn key(&mut self, pane: PaneId, cx: &Context<'_>, key: &Key) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.key(cx, key),)* }
            }

            /// See [`Pane::paste`].
            pub fn paste(&mut self, pane: PaneId, cx: &Context<'_>, text: &str) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.paste(cx, text),)* }
            }

            /// See [`Pane::inbound`].
            pub fn inbound(&mut self, pane: PaneId, cx: &Context<'_>, inbound: &Inbound) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.inbound(cx, inbound),)* }
            }

            /// See [`Pane::resized`].
            pub fn resized(&mut self, pane: PaneId, cx: &Context<'_>) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.resized(cx),)* }
            }

            /// See [`Pane::mouse`].
            pub fn mouse(&mut self, pane: PaneId, cx: &Context<'_>, mouse: crate::app::event::Mouse) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.mouse(cx, mouse),)* }
            }

            /// See [`Pane::back`].
            pub fn back(&mut self, pane: PaneId, cx: &Context<'_>) -> bool {
                match pane { $(PaneId::$id => self.$field.back(cx),)* }
            }

            /// See [`Pane::close`].
            pub fn close(&mut self, pane: PaneId, cx: &Context<'_>) -> Option<Vec<Effect>> {
                match pane { $(PaneId::$id => self.$field.close(cx),)* }
            }

            /// See [`Pane::wants_zoom`].
            pub fn wants_zoom(&self, pane: PaneId) -> bool {
                match pane { $(PaneId::$id => self.$field.wants_zoom(),)* }
            }

            /// See [`Pane::next_wake`].
            pub fn next_wake(&self, pane: PaneId, cx: &Context<'_>) -> Option<Timestamp> {
                match pane { $(PaneId::$id => self.$field.next_wake(cx),)* }
            }

            /// See [`Pane::woken`].
            pub fn woken(&mut self, pane: PaneId, cx: &Context<'_>) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.woken(cx),)* }
            }

            /// See [`Pane::wanted_rows`].
            pub fn wanted_rows(&self, pane: PaneId, cx: &Context<'_>) -> u16 {
                match pane { $(PaneId::$id => self.$field.wanted_rows(cx),)* }
            }

            /// See [`Pane::unsaved`].
            pub fn unsaved(&self, pane: PaneId) -> Option<String> {
                match pane { $(PaneId::$id => self.$field.unsaved(),)* }
            }

            /// See [`Pane::typing_hints`].
            pub fn typing_hints(&self, pane: PaneId) -> &'static [(&'static str, &'static str)] {
                match pane { $(PaneId::$id => self.$field.typing_hints(),)* }
            }

            /// See [`Pane::mode_hints`].
            pub fn mode_hints(&self, pane: PaneId) -> Vec<(PaneCommand, &'static str)> {
                match pane {
                    $(PaneId::$id => {
                        self.$field.mode_hints().iter().map(|(it, label)| (PaneCommand::$id(*it), *label)).collect()
                    })*
                }
            }

            /// See [`Pane::leaving`].
            pub fn leaving(&mut self, pane: PaneId, cx: &Context<'_>) -> Vec<Effect> {
                match pane { $(PaneId::$id => self.$field.leaving(cx),)* }
            }

            /// See [`Pane::title`].
            pub fn title(&self, pane: PaneId, cx: &Context<'_>, theme: &Theme, room: usize) -> Line<'static> {
                match pane { $(PaneId::$id => self.$field.title(cx, theme, room),)* }
            }

            /// See [`Pane::view`].
            pub fn view(&self, pane: PaneId, cx: &Context<'_>, theme: &Theme, area: Rect, buf: &mut Buffer) -> Option<Position> {
                match pane { $(PaneId::$id => self.$field.view(cx, theme, area, buf),)* }
            }
        }
    };
}

panes! {
    services: Services = services::ServicesPane,
    logs: Logs = logs::LogsPane,
    backups: Backups = backups::BackupsPane,
    incident: Incident = incident::IncidentPane,
}
