//! A folder held open, in which files are made, replaced and removed by bare name.
//!
//! Everything goes through the folder's descriptor with `O_NOFOLLOW`, so that a symlink swapped in by somebody
//! else is an error and not a way out of the folder. Files are 0600 and folders 0700 whatever the umask is.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, fstatvfs, openat, renameat_with, unlinkat};

/// Names read from one folder: past that it is not a folder of backups, and listing it would hold the run up.
const NAMES_MAX: usize = 100_000;

/// A folder held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that exists.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd, path: path.to_path_buf() })
    }

    /// Opens a folder; it and its missing parents are made with mode 0700.
    pub fn create(path: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file that does not exist yet.
    pub fn create_new(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.fd, bare(name)?, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Opens a regular file for reading; anything else (FIFO, device, symlink) is refused.
    pub fn read(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.fd, bare(name)?, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// Reads a small text file whole.
    pub fn read_text(&self, name: &str, max_bytes: u64) -> io::Result<String> {
        use std::io::Read;
        let file = self.read(name)?;
        if file.metadata()?.size() > max_bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than it can be"));
        }
        let mut text = String::new();
        file.take(max_bytes).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Bytes of what has a name, whatever it is; `None` when the name is free.
    pub fn size_bytes(&self, name: &str) -> io::Result<Option<u64>> {
        match rustix::fs::statat(&self.fd, bare(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or_default())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames to a name that must be free.
    pub fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat_with(&self.fd, bare(from)?, &self.fd, bare(to)?, RenameFlags::NOREPLACE) {
            // Some network filesystems do not know the flag; the job's lock keeps our own runs apart there.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                if self.size_bytes(to)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(rustix::fs::renameat(&self.fd, bare(from)?, &self.fd, bare(to)?)?)
            }
            other => Ok(other?),
        }
    }

    /// Puts a small file in place of an older one, whole or not at all.
    pub fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let partial = format!(".{name}.new");
        self.remove(&partial)?;
        let written = self.create_new(&partial).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        if let Err(error) = written {
            // The first error is the one to tell.
            let _ = self.remove(&partial);
            return Err(error);
        }
        rustix::fs::renameat(&self.fd, bare(&partial)?, &self.fd, bare(name)?)?;
        self.sync()
    }

    /// Removes a file; one that is not there is fine.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.fd, bare(name)?, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in it, sorted.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let Ok(name) = entry?.file_name().to_str().map(str::to_string) else { continue };
            if name != "." && name != ".." {
                names.push(name);
            }
            if names.len() >= NAMES_MAX {
                return Err(io::Error::other(format!("more than {NAMES_MAX} files in one folder")));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Makes renames and removals survive a power loss.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Bytes that this user may still write.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// An I/O error in our words: lower case, no number.
pub fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space left on device".into(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the filesystem is read-only".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::NotFound if error.raw_os_error().is_some() => "no such file or directory".into(),
        _ => error.to_string(),
    }
}

fn bare(name: &str) -> io::Result<&str> {
    let bad = name.is_empty() || name == "." || name == ".." || name.contains('/') || name.contains('\0');
    if bad { Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no file name"))) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn nothing_leaves_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "precious").unwrap();
        let folder = Folder::create(&dir.path().join("in")).unwrap();
        symlink(&outside, dir.path().join("in/trap")).unwrap();
        assert!(folder.create_new("trap").is_err());
        assert!(folder.read("trap").is_err());
        for name in ["../outside", "a/b", "..", "", "a\0b"] {
            assert!(folder.create_new(name).is_err(), "{name:?}");
            assert!(folder.remove(name).is_err(), "{name:?}");
        }
        folder.replace("trap", "mine").unwrap();
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
        assert_eq!(folder.read_text("trap", 10).unwrap(), "mine");
    }

    #[test]
    fn files_are_private_and_a_taken_name_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(&dir.path().join("a/b")).unwrap();
        folder.create_new("one").unwrap();
        folder.create_new("two").unwrap();
        assert!(folder.rename_new("one", "two").is_err());
        let mode = |path: &str| std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/b"), mode("a/b/one")), (0o700, 0o700, 0o600));
        assert_eq!(folder.names().unwrap(), ["one", "two"]);
    }
}
