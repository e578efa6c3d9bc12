//! Which file system the state directory is on: SQLite's WAL needs shared memory, which is local.

use std::path::Path;

/// Magic numbers as `statfs(2)` lists them, and whether another host has the files for certain.
const REMOTE: &[(u64, &str, Kind)] = &[
    (0x6969, "NFS", Kind::Network),
    (0xff53_4d42, "CIFS", Kind::Network),
    (0xfe53_4d42, "SMB", Kind::Network),
    (0x517b, "SMB", Kind::Network),
    (0x0102_1997, "9p", Kind::Network),
    (0x5346_544e, "sshfs", Kind::Network),
    (0x00c3_6400, "Ceph", Kind::Network),
    (0x5346_414f, "AFS", Kind::Network),
    (0x6b41_4653, "AFS", Kind::Network),
    (0x0bd0_0bd0, "Lustre", Kind::Network),
    (0x0116_1970, "GFS2", Kind::Network),
    (0x7461_636f, "OCFS2", Kind::Network),
    (0x6573_5546, "FUSE", Kind::Fuse),
];

/// What kind of file system it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk of this host.
    Local,
    /// A program answers; behind it may be anything.
    Fuse,
    /// Another host has the files.
    Network,
}

/// What the file system of a folder is called and of what kind it is.
pub fn of(folder: &Path) -> (&'static str, Kind) {
    // A folder that cannot be asked cannot be used either; that is said elsewhere.
    let Ok(found) = rustix::fs::statfs(folder) else { return ("local", Kind::Local) };
    of_magic(found.f_type as u64)
}

/// Less than this is no room: what shared memory and the smallest write take.
const LEAST_BYTES: u64 = 64 << 10;

/// True when the file system of a folder has no room for another file that is worth its name.
pub fn is_full(folder: &Path) -> bool {
    let Ok(found) = rustix::fs::statvfs(folder) else { return false };
    // The last few percent are for root.
    let free = if rustix::process::geteuid().is_root() { found.f_bfree } else { found.f_bavail };
    free.saturating_mul(found.f_frsize) < LEAST_BYTES || (found.f_files > 0 && found.f_favail == 0)
}

fn of_magic(magic: u64) -> (&'static str, Kind) {
    let magic = magic & 0xffff_ffff;
    REMOTE.iter().find(|(it, ..)| *it == magic).map_or(("local", Kind::Local), |(_, name, kind)| (*name, *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_hosts_are_told_from_disks() {
        assert_eq!(of_magic(0x6969), ("NFS", Kind::Network));
        assert_eq!(of_magic(0xffff_ffff_ff53_4d42), ("CIFS", Kind::Network), "`f_type` is signed on some machines");
        assert_eq!(of_magic(0x6573_5546), ("FUSE", Kind::Fuse));
        assert_eq!(of_magic(0xef53), ("local", Kind::Local));
    }
}
