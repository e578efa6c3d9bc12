//! Writes small files that are nobody else's business, whole or not at all.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// Replaces a file, mode 0600, so that a reader or a crash finds either the old bytes or the new ones; they are on
/// disk when this returns. Missing folders are made, mode 0700.
///
/// # Errors
/// When it cannot be written; then the old file is still there, and nothing beside it.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, 0o600)
}

/// Like [`write()`], with another mode of the file.
///
/// # Errors
/// As for [`write()`].
pub fn write_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A bare name has an empty parent.
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // tempfile creates with mode 0600 and removes the file again when anything below fails.
    let mut new = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    new.write_all(bytes)?;
    if mode != 0o600 {
        new.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    new.as_file().sync_all()?;
    new.persist(path).map_err(|it| it.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_for_the_owner_alone_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state/deep");
        let path = folder.join("cursor");
        write(&path, b"first, and longer").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir_all(path.join("by a folder")).unwrap();
        assert!(write(&path, b"x").is_err());
        assert!(path.join("by a folder").is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
