//! Which command a sequence of keys means, and which keys a command has.
//!
//! One trie a context (each pane, and the keys that mean the same everywhere), built from the command
//! tables and the `[keys]` of the config. Footer, help, palette and `hotseat keys` ask this map for the keys,
//! so they show what the person bound, not what we ship.

use std::collections::HashMap;

use crate::app::command::Command;
use crate::domain::config_error::{ConfigError, did_you_mean};
use crate::domain::key::{Key, KeyBinding, parse_sequence, print_sequence};
use crate::panes::PaneId;

/// Keys in one sequence: more than anybody remembers, and a bound for the trie's depth.
pub const SEQUENCE_MAX: usize = 4;

/// Keys to commands and back.
#[derive(Debug, Clone, Default)]
pub struct Keymap {
    global: Node,
    panes: HashMap<PaneId, Node>,
    // Every sequence that works, in the order in which it was bound.
    keys: HashMap<Command, Vec<Vec<Key>>>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    command: Option<Command>,
    // In the order of the tables, so that the menu of a chord reads like the table.
    next: Vec<(Key, Node)>,
}

/// What some pressed keys mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// A command.
    Command(Command),
    /// The beginning of a longer sequence.
    Prefix,
    /// Nothing.
    Nothing,
}

impl Keymap {
    /// Builds the map from the tables and what the config binds otherwise.
    ///
    /// A binding that cannot stand is left out and said; the command then keeps its own keys where they are free.
    pub fn build(bindings: &[KeyBinding]) -> (Self, Vec<ConfigError>) {
        let mut keymap = Self::default();
        let mut errors = Vec::new();
        let mut rebound: Vec<(Command, &KeyBinding)> = Vec::new();
        for binding in bindings {
            match Command::find(&binding.command) {
                Some(command) => rebound.push((command, binding)),
                None => errors.push(unknown(binding)),
            }
        }
        for command in Command::all() {
            if !rebound.iter().any(|(it, _)| *it == command) {
                keymap.bind_defaults(command);
            }
        }
        for (command, binding) in &rebound {
            for text in &binding.keys {
                let bound = parse(text).and_then(|keys| keymap.bind(*command, &keys));
                if let Err((message, hint)) = bound {
                    let error = ConfigError { message, hint, ..binding.at.clone() };
                    errors.push(error);
                }
            }
        }
        for (command, binding) in &rebound {
            if !binding.keys.is_empty() && !keymap.keys.contains_key(command) {
                keymap.bind_defaults(*command);
            }
        }
        errors.sort_by_key(|it| (it.line, it.column));
        (keymap, errors)
    }

    /// What the keys mean while `focus` has them; the pane comes before the keys that work everywhere.
    pub fn lookup(&self, focus: PaneId, keys: &[Key]) -> Lookup {
        let found = self.panes.get(&focus).map_or(Lookup::Nothing, |node| node.lookup(keys));
        if found == Lookup::Nothing { self.global.lookup(keys) } else { found }
    }

    /// What the keys mean everywhere.
    pub fn lookup_global(&self, keys: &[Key]) -> Lookup {
        self.global.lookup(keys)
    }

    /// All sequences of a command.
    pub fn keys(&self, command: Command) -> &[Vec<Key>] {
        self.keys.get(&command).map_or(&[], Vec::as_slice)
    }

    /// The first sequence of a command in words, for hints.
    pub fn label(&self, command: Command) -> Option<String> {
        self.keys(command).first().map(|it| print_sequence(it))
    }

    /// All sequences of a command in words: `j, down`; empty when it has none.
    pub fn labels(&self, command: Command) -> String {
        self.keys(command).iter().map(|it| print_sequence(it)).collect::<Vec<_>>().join(", ")
    }

    /// What can follow the keys pressed so far: the next key and what it leads to, in words.
    pub fn continuations(&self, focus: PaneId, keys: &[Key]) -> Vec<(Key, &'static str)> {
        let node = self.panes.get(&focus).and_then(|it| it.walk(keys)).or_else(|| self.global.walk(keys));
        let Some(node) = node else { return Vec::new() };
        node.next.iter().map(|(key, next)| (*key, next.command.map_or("…", |it| it.spec().doc))).collect()
    }

    fn bind_defaults(&mut self, command: Command) {
        for text in command.spec().keys {
            if let Ok(keys) = parse(text) {
                // Taken by the person for something else: theirs wins.
                let _ = self.bind(command, &keys);
            }
        }
    }

    fn bind(&mut self, command: Command, keys: &[Key]) -> Result<(), Refusal> {
        if let Some(other) = self.in_the_way(command, keys) {
            return Err((
                format!("`{}` is already a key of `{}`", print_sequence(keys), other.spec().name),
                Some(format!("bind `{0}` to other keys too, or to none: `\"{0}\" = []`", other.spec().name)),
            ));
        }
        let root = match command.pane() {
            Some(pane) => self.panes.entry(pane).or_default(),
            None => &mut self.global,
        };
        root.insert(keys, command);
        self.keys.entry(command).or_default().push(keys.to_vec());
        Ok(())
    }

    /// The command whose keys equal these, begin with them or are their beginning, where both could be meant.
    fn in_the_way(&self, command: Command, keys: &[Key]) -> Option<Command> {
        let own = match command.pane() {
            Some(pane) => self.panes.get(&pane).and_then(|it| it.crossing(keys)),
            // A key for everywhere must be free in every pane.
            None => PaneId::ALL.iter().filter_map(|it| self.panes.get(it)).find_map(|it| it.crossing(keys)),
        };
        own.or_else(|| self.global.crossing(keys)).filter(|it| *it != command)
    }
}

/// What is wrong and what to do.
type Refusal = (String, Option<String>);

fn parse(text: &str) -> Result<Vec<Key>, Refusal> {
    let hint = || Some("write keys as in `F`, `ctrl-r`, `shift-up`, `f5`, or `g g` for one after another".to_string());
    let keys = parse_sequence(text).map_err(|error| (error, hint()))?;
    if keys.len() > SEQUENCE_MAX {
        let hint = Some("choose a shorter sequence".to_string());
        return Err((format!("`{text}` is longer than {SEQUENCE_MAX} keys"), hint));
    }
    Ok(keys)
}

fn unknown(binding: &KeyBinding) -> ConfigError {
    let near = did_you_mean(&binding.command, Command::all().iter().map(|it| it.spec().name));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "run `hotseat keys` to list the commands".to_string(),
    };
    ConfigError { message: format!("unknown command `{}`", binding.command), hint: Some(hint), ..binding.at.clone() }
}

impl Node {
    fn walk(&self, keys: &[Key]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.next.iter().find(|(it, _)| it == key).map(|(_, next)| next))
    }

    fn lookup(&self, keys: &[Key]) -> Lookup {
        match self.walk(keys) {
            Some(Node { command: Some(command), .. }) => Lookup::Command(*command),
            Some(node) if !node.next.is_empty() => Lookup::Prefix,
            _ => Lookup::Nothing,
        }
    }

    fn insert(&mut self, keys: &[Key], command: Command) {
        let Some((key, rest)) = keys.split_first() else {
            self.command = Some(command);
            return;
        };
        let at = self.next.iter().position(|(it, _)| it == key).unwrap_or_else(|| {
            self.next.push((*key, Node::default()));
            self.next.len() - 1
        });
        self.next[at].1.insert(rest, command);
    }

    /// A command at, below or on the way to `keys`.
    fn crossing(&self, keys: &[Key]) -> Option<Command> {
        let mut node = self;
        for key in keys {
            if node.command.is_some() {
                return node.command;
            }
            node = &node.next.iter().find(|(it, _)| it == key)?.1;
        }
        node.first()
    }

    fn first(&self) -> Option<Command> {
        self.command.or_else(|| self.next.iter().find_map(|(_, next)| next.first()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::command::{CommandTable, GlobalCommand};

    fn binding(command: &str, keys: &[&str]) -> KeyBinding {
        KeyBinding {
            command: command.into(),
            keys: keys.iter().map(|it| it.to_string()).collect(),
            at: ConfigError::at("config.toml", &format!("\"{command}\" = 1"), 0..command.len() + 2, ""),
        }
    }

    fn keys(text: &str) -> Vec<Key> {
        parse_sequence(text).unwrap()
    }

    #[test]
    fn every_default_key_is_bound_and_shadows_nothing() {
        let (keymap, errors) = Keymap::build(&[]);
        assert_eq!(errors, []);
        for command in Command::all() {
            let spec = command.spec();
            let bound: Vec<String> = keymap.keys(command).iter().map(|it| print_sequence(it)).collect();
            assert_eq!(bound, spec.keys, "`{}` lost a key to another command", spec.name);
        }
    }

    #[test]
    fn every_command_has_its_own_name_and_a_line_of_help() {
        let mut seen = std::collections::HashSet::new();
        for command in Command::all() {
            let spec = command.spec();
            assert!(seen.insert(spec.name), "two commands are called `{}`", spec.name);
            let prefix = command.pane().map_or(String::new(), |it| format!("{}.", it.name()));
            assert!(spec.name.starts_with(&prefix), "`{}` must begin with `{prefix}`", spec.name);
            assert!(spec.doc.chars().next().is_some_and(char::is_uppercase), "`{}`: {}", spec.name, spec.doc);
            assert!(!spec.doc.ends_with('.'), "`{}`: {}", spec.name, spec.doc);
        }
    }

    #[test]
    fn a_remapped_command_is_found_under_its_new_key_only() {
        let (keymap, errors) = Keymap::build(&[binding("zoom", &["Z", "ctrl-x z"])]);
        assert_eq!(errors, []);
        let zoom = Command::Global(GlobalCommand::Zoom);
        assert_eq!(keymap.lookup(PaneId::Logs, &keys("Z")), Lookup::Command(zoom));
        assert_eq!(keymap.lookup(PaneId::Logs, &keys("z")), Lookup::Nothing);
        assert_eq!(keymap.lookup(PaneId::Logs, &keys("ctrl-x")), Lookup::Prefix);
        assert_eq!(keymap.lookup(PaneId::Logs, &keys("ctrl-x z")), Lookup::Command(zoom));
        assert_eq!(keymap.labels(zoom), "Z, ctrl-x z");
        assert_eq!(
            keymap.continuations(PaneId::Logs, &keys("ctrl-x")),
            [(Key::char('z'), GlobalCommand::Zoom.spec().doc)]
        );
    }

    #[test]
    fn two_commands_may_swap_their_keys() {
        let (keymap, errors) = Keymap::build(&[binding("zoom", &["T"]), binding("theme", &["z"])]);
        assert_eq!(errors, []);
        assert_eq!(keymap.labels(Command::Global(GlobalCommand::Zoom)), "T");
        assert_eq!(keymap.labels(Command::Global(GlobalCommand::Theme)), "z");
    }

    #[test]
    fn an_empty_list_takes_the_keys_away() {
        let (keymap, errors) = Keymap::build(&[binding("quit", &[])]);
        assert_eq!(errors, []);
        assert_eq!(keymap.lookup(PaneId::Services, &keys("q")), Lookup::Nothing);
        assert_eq!(keymap.label(Command::Global(GlobalCommand::Quit)), None);
    }

    #[test]
    fn a_key_that_is_taken_is_refused_with_its_owner_and_place() {
        let (keymap, errors) = Keymap::build(&[binding("zoom", &["q"])]);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "config.toml:1:1: `q` is already a key of `quit` (bind `quit` to other keys too, or to none: `\"quit\" = []`)"
            ]
        );
        assert_eq!(keymap.labels(Command::Global(GlobalCommand::Zoom)), "z", "the default stays");
    }

    #[test]
    fn a_key_may_not_begin_another_sequence_nor_hide_a_global_key() {
        for (command, key) in [("zoom", "q q"), ("services.down", "q"), ("services.down", "q x")] {
            let (_, errors) = Keymap::build(&[binding(command, &[key])]);
            assert_eq!(errors.len(), 1, "{command} {key}");
            assert!(errors[0].message.contains("`quit`"), "{}", errors[0]);
        }
        let (_, errors) = Keymap::build(&[binding("zoom", &["j"])]);
        assert!(errors[0].message.contains("`services.down`"), "{}", errors[0]);
    }

    #[test]
    fn an_unknown_command_and_an_unknown_key_are_errors_with_a_way_out() {
        let (_, errors) = Keymap::build(&[binding("zom", &["x"]), binding("zoom", &["hyper-x"])]);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said[0], "config.toml:1:1: unknown command `zom` (did you mean `zoom`?)");
        assert!(said[1].starts_with("config.toml:1:1: unknown key `hyper-x` (write keys as in"), "{}", said[1]);
    }
}
