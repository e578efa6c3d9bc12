//! Commands: what a key can mean. One table a pane feeds keymap, footer, `?`, palette, `:`, `hotseat keys` and README.

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
        Acknowledge = "acknowledge", "Mark the selected or the first red probe as seen by you", ["a"], "ack";
        Note = "note", "Write a one-line note (`@-12m text` dates it back)", ["i"], "note";
        Editor = "editor", "Open the incident's document in the editor", ["I"], "";
        Declare = "declare", "Declare an incident", ["D"], "declare";
        Help = "help", "Show all keys", ["?", "f1"], "help";
        Palette = "palette", "Find a command by its name", ["ctrl-p"], "";
        CommandLine = "command-line", "Run a command by typing its name", [":"], "";
        Theme = "theme", "Choose a theme with a live preview", ["T"], "";
        Mouse = "mouse", "Switch the mouse on or off", ["M"], "";
        Reload = "reload", "Read the config again", ["ctrl-r"], "";
        Redraw = "redraw", "Paint the whole screen again", ["ctrl-l"], "";
        Suspend = "suspend", "Suspend to the shell (`fg` comes back)", ["ctrl-z"], "";
        Back = "back", "Close what is open, step back", ["esc"], "";
        Quit = "quit", "Quit", ["q", "ctrl-c"], "quit";
    }
}
