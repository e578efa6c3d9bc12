//! A folder on this host: a disk, a mounted share.
//!
//! On first use the folder gets a marker with an id. When the marker of earlier runs is not there any more,
//! the disk is most likely not mounted, and writing would fill the disk below the mount point: refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::domain::backup::manifest::shell_quote;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::backup::destination::{Destination, Place, PlaceFile};
use crate::service::backup::folder::Folder;

/// `to = "/path"`, or `to = [{ local = "/path", name = "nas" }]`.
pub const KIND: Kind<dyn Destination> = Kind {
    name: "local",
    summary: "a folder on this host: a disk or a mounted share",
    example: "[[backup]]\nname = \"app-config\"\nfile = \"/etc/app/config.toml\"\nat = \"daily 02:00\"\nto = [\"/backup/app\", { local = \"/mnt/nas/app\", name = \"nas\" }]\n",
    build,
};

/// The file that says that a folder is a destination, with its id.
pub const MARKER: &str = ".hotseat-destination";

/// Largest marker: an id and a line break.
const MARKER_BYTES_MAX: u64 = 256;

fn build(node: &Node<'_>) -> Option<Box<dyn Destination>> {
    let path = crate::service::backup::spec::absolute_path(node)?;
    Some(Box::new(LocalFolder { path }))
}

/// A folder on this host.
pub struct LocalFolder {
    /// Where.
    pub path: PathBuf,
}

impl Destination for LocalFolder {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn default_name(&self) -> String {
        self.path.file_name().map_or_else(|| "root".into(), |it| it.to_string_lossy().into_owned())
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self, known_id: Option<&str>) -> io::Result<Box<dyn Place>> {
        if let Some(known_id) = known_id {
            return self.open_existing(Some(known_id));
        }
        let folder = Folder::create(&self.path)?;
        let id = match read_marker(&folder) {
            Ok(id) => id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = uuid::Uuid::now_v7().to_string();
                folder.replace(MARKER, &format!("{id}\n"))?;
                id
            }
            Err(error) => return Err(error),
        };
        Ok(Box::new(LocalPlace { folder, id }))
    }

    fn open_existing(&self, known_id: Option<&str>) -> io::Result<Box<dyn Place>> {
        let folder = Folder::open(&self.path)?;
        let found = match read_marker(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            found => found.ok(),
        };
        if let Some(known) = known_id.filter(|known| found.as_deref() != Some(*known)) {
            let what = if found.is_some() { "is another one" } else { "is gone" };
            let accept = format!("echo {known} > {}", shell_quote(&format!("{}/{MARKER}", self.path.display())));
            let message =
                format!("its marker `{MARKER}` {what}: is the disk mounted? If it is the right one, run `{accept}`");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(Box::new(LocalPlace { folder, id: found.unwrap_or_default() }))
    }
}

fn read_marker(folder: &Folder) -> io::Result<String> {
    let text = folder.read_text(MARKER, MARKER_BYTES_MAX)?;
    let id = text.trim();
    let plain = !id.is_empty() && id.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if plain { Ok(id.to_string()) } else { Err(io::Error::other(format!("its marker `{MARKER}` is damaged"))) }
}

struct LocalPlace {
    folder: Folder,
    id: String,
}

impl Place for LocalPlace {
    fn id(&self) -> &str {
        &self.id
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn size_bytes(&self, name: &str) -> io::Result<Option<u64>> {
        self.folder.size_bytes(name)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.folder.free_bytes().ok()
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn PlaceFile>> {
        let file: File = self.folder.create_new(name)?;
        Ok(Box::new(file))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(self.folder.read(name)?))
    }

    fn read_text(&self, name: &str, max_bytes: u64) -> io::Result<String> {
        self.folder.read_text(name, max_bytes)
    }

    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        self.folder.replace(name, text)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename_new(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }
}
