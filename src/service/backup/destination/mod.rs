//! Where copies are kept: the trait and its kinds, one file each.

pub mod local;

use std::io::{self, Read, Write};

use crate::registry::node::Node;
use crate::registry::{self, Kind};

/// Every kind of destination that `to` can name.
pub const KINDS: &[Kind<dyn Destination>] = &[local::KIND];

/// A place that holds copies, as the config names it.
pub trait Destination: Send + Sync {
    /// The key in the config.
    fn kind(&self) -> &'static str;

    /// Short name for the rows, when the config gives none.
    fn default_name(&self) -> String;

    /// The whole place, as a person would type it; tells two destinations apart.
    fn location(&self) -> String;

    /// Opens it for writing and makes it when it was never used.
    ///
    /// `known_id` is the id of the marker that earlier runs found there.
    ///
    /// # Errors
    /// When it is not there, or is not what earlier runs wrote to.
    fn open(&self, known_id: Option<&str>) -> io::Result<Box<dyn Place>>;

    /// Opens it for reading; changes nothing.
    ///
    /// # Errors
    /// When it is not there, or is not what earlier runs wrote to.
    fn open_existing(&self, known_id: Option<&str>) -> io::Result<Box<dyn Place>>;
}

/// A destination that is open: files by bare name.
pub trait Place {
    /// The id in its marker.
    fn id(&self) -> &str;

    /// The names in it, sorted.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Bytes of a file; `None` when the name is free.
    fn size_bytes(&self, name: &str) -> io::Result<Option<u64>>;

    /// Bytes that may still be written, when that is known.
    fn free_bytes(&self) -> Option<u64>;

    /// Makes a file that does not exist yet.
    fn create_new(&self, name: &str) -> io::Result<Box<dyn PlaceFile>>;

    /// Opens a file for reading.
    fn read(&self, name: &str) -> io::Result<Box<dyn Read>>;

    /// Reads a small text file.
    fn read_text(&self, name: &str, max_bytes: u64) -> io::Result<String>;

    /// Puts a small file in place of an older one, whole or not at all.
    fn replace(&self, name: &str, text: &str) -> io::Result<()>;

    /// Renames to a name that must be free.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; one that is not there is fine.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes renames and removals survive a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is being written.
pub trait PlaceFile: Write {
    /// Makes its bytes survive a power loss.
    fn sync(&mut self) -> io::Result<()>;
}

impl PlaceFile for std::fs::File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Reads one destination: a path, or a table with a kind and perhaps a `name`. Gives the name as well.
pub(super) fn read(node: &Node<'_>) -> Option<(Option<String>, Box<dyn Destination>)> {
    if !node.is_table() {
        return Some((None, (local::KIND.build)(node)?));
    }
    let name = node.get("name").and_then(|it| it.string());
    let picked = registry::pick(node, "destination", KINDS);
    node.finish(&[]);
    let (kind, value) = picked?;
    Some((name, (kind.build)(&value)?))
}
