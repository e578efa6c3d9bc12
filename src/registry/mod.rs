//! What a config file can name, and how a named thing is built from its spanned table.
//!
//! A kind (of probe, log source, backup source, destination) is one file with one `Kind` value, and one
//! line in its folder's `KINDS`. Parsing, `check --kinds`, error positions and "did you mean" come for free.

pub mod node;
pub mod reference;
pub mod value;

use crate::registry::node::Node;

/// One thing a config file can name by a key: `http`, `file`, `sqlite`.
pub struct Kind<T: ?Sized + 'static> {
    /// The key in the config.
    pub name: &'static str,
    /// One line for `check --kinds`.
    pub summary: &'static str,
    /// A complete TOML entry that `check` accepts.
    pub example: &'static str,
    /// Builds it from the value of the key (a string or a table).
    ///
    /// Returns `None` after the mistakes were reported through the node.
    pub build: fn(&Node<'_>) -> Option<Box<T>>,
}
