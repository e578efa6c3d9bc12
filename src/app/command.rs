//! Commands: what a key can mean. One table a pane feeds keymap, footer, `?`, palette, `:`, `hotseat keys` and README.

use crate::panes::{PaneCommand, PaneId};

/// One row of a command table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSpec {
    /// Stable dotted name: `logs.follow`. What the config remaps and `:` runs.
    pub name: &'static str,
    /// One imperative line: `Follow the newest line`.
    pub doc: &'static str,
    /// Default keys; each is a sequence as `domain::key::parse_sequence` reads it.
    pub keys: &'static [&'static str],
    /// Short label in the footer, for the commands worth a place there; `""` for the others.
    pub hint: &'static str,
}

/// A closed set of commands with its table.
pub trait CommandTable: Copy + Eq + 'static {
    /// All commands, in table order.
    const ALL: &'static [Self];
    /// Their rows, in the same order.
    const SPECS: &'static [CommandSpec];

    /// Finds a command by its name.
    fn find(name: &str) -> Option<Self> {
        Self::SPECS.iter().position(|it| it.name == name).map(|at| Self::ALL[at])
    }

    /// The command's row.
    fn spec(self) -> &'static CommandSpec {
        let at = Self::ALL.iter().position(|it| *it == self).unwrap_or_default();
        &Self::SPECS[at]
    }
}

/// Declares an enum of commands and its table in one place.
///
/// `Variant = "name", "doc", ["key", …], "footer hint";`
#[macro_export]
macro_rules! commands {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $id:literal, $doc:literal, [$($key:literal),*], $hint:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $doc] $variant,)*
        }

        impl $crate::app::command::CommandTable for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];
            const SPECS: &'static [$crate::app::command::CommandSpec] = &[
                $($crate::app::command::CommandSpec { name: $id, doc: $doc, keys: &[$($key),*], hint: $hint },)*
            ];
        }
    };
}

/// Any command: what the keymap answers with and the palette lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Means the same in every pane.
    Global(GlobalCommand),
    /// Belongs to one pane.
    Pane(PaneCommand),
}

impl Command {
    /// The global commands, then those of every pane, in table order.
    pub fn all() -> Vec<Command> {
        let global = GlobalCommand::ALL.iter().copied().map(Command::Global);
        let panes = PaneId::ALL.iter().flat_map(|it| it.commands()).map(Command::Pane);
        global.chain(panes).collect()
    }

    /// Finds a command by its name.
    pub fn find(name: &str) -> Option<Command> {
        let pane = || PaneId::ALL.iter().find_map(|it| it.command(name)).map(Command::Pane);
        GlobalCommand::find(name).map(Command::Global).or_else(pane)
    }

    /// The command's row.
    pub fn spec(self) -> &'static CommandSpec {
        match self {
            Command::Global(command) => command.spec(),
            Command::Pane(command) => command.spec(),
        }
    }

    /// The pane it belongs to.
    pub fn pane(self) -> Option<PaneId> {
        match self {
            Command::Global(_) => None,
            Command::Pane(command) => Some(command.pane()),
        }
    }
}

commands! {
    /// Commands that mean the same in every pane.
    GlobalCommand {
        NextPane = "next-pane", "Go to the next pane", ["tab"], "";
        PreviousPane = "previous-pane", "Go to the previous pane", ["backtab"], "";
        Pane1 = "pane-1", "Go to the services", ["1"], "";
        Pane2 = "pane-2", "Go to the logs", ["2"], "";
        Pane3 = "pane-3", "Go to the backups", ["3"], "";
        Pane4 = "pane-4", "Go to the incident", ["4"], "";
        Zoom = "zoom", "Give the pane the whole screen, or back", ["z"], "zoom";
        Acknowledge = "acknowledge", "Mark the selected or the first red probe as seen by you, or take that back", ["a"], "ack";
        Note = "note", "Write a one-line note (`@-12m text` dates it back)", ["i"], "note";
        Editor = "editor", "Open the incident's document in the editor", ["I"], "";
        Declare = "declare", "Declare an incident", ["D"], "declare";
        PastEarlier = "past-earlier", "Show the whole screen as it was at the event before", ["["], "past";
        PastLater = "past-later", "Step to the event after, at last back to the present", ["]"], "";
        PastEarlierProbe = "past-earlier-probe", "Step to the event before of the selected probe", ["{"], "";
        PastLaterProbe = "past-later-probe", "Step to the event after of the selected probe", ["}"], "";
        Live = "live", "Come back from the past to the present", [], "";
        Help = "help", "Show all keys", ["?", "f1"], "help";
        Palette = "palette", "Find a command by its name", ["ctrl-p"], "";
        CommandLine = "command-line", "Run a command by typing its name", [":"], "";
        Theme = "theme", "Choose a theme with a live preview", ["T"], "";
        Mouse = "mouse", "Switch the mouse on or off", ["M"], "";
        TakeOver = "takeover", "Watch this host from this screen, because its agent is lost", ["W"], "";
        Reattach = "retry", "Try at once to reach a host that is lost or refused", ["ctrl-t"], "";
        Reload = "reload", "Read the config again", ["ctrl-r"], "";
        Redraw = "redraw", "Paint the whole screen again", ["ctrl-l"], "";
        Suspend = "suspend", "Suspend to the shell (`fg` comes back)", ["ctrl-z"], "";
        Back = "back", "Close what is open, step back", ["esc"], "";
        Who = "who", "Show who is here, what they look at, and how each host is", ["@"], "";
        Problems = "problems", "Show what is wrong with the config", ["ctrl-e"], "";
        Quit = "quit", "Close what is open, or quit", ["q"], "quit";
        QuitNow = "quit-now", "Quit, whatever is open", ["ctrl-c"], "";
    }
}
