//! `share = { group = "oncall" }`: the people of a group may attach, and read and write the incidents.
//!
//! Everything else in the state directory stays the owner's: the database, the journal and what was read of logs may
//! hold what only the owner may read. Members need none of it, because they ask the runtime. The incidents are files
//! that people work with, also by `hotseat note` and git while nothing runs, so these are given to the group; and the
//! state directory may be passed through, not listed, on the way to them and to the socket.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::domain::config_error::did_you_mean;
use crate::domain::sanitise;
use crate::registry::node::Node;
use crate::service::incident::files::{DIR_MODE, FILE_MODE, SHARED_DIR_MODE, SHARED_FILE_MODE};

/// The folder of the incidents in the state directory.
const INCIDENTS: &str = "incidents";
/// Mode of a shared state directory: members reach the socket and the incidents in it, and cannot list the rest.
const STATE_MODE: u32 = 0o710;
/// Folders below `incidents`: the year, the incident, its entries and pins.
const DEPTH_MAX: usize = 4;
/// Lines of `/etc/group` that a message looks through for a name that is alike.
const GROUPS_MAX: usize = 1_000;

/// The group that a state directory is shared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// As the config names it.
    pub group: String,
    /// Its number.
    pub gid: u32,
}

/// Reads `share`.
pub(super) fn read(table: &Node<'_>) -> Option<Share> {
    let share = table.require("group").and_then(|node| {
        let group = node.string()?;
        let groups = groups();
        let known = groups.iter().find(|(name, _)| *name == group).map(|(_, gid)| *gid);
        let Some(gid) = known.or_else(|| group.parse().ok()) else {
            let near = did_you_mean(&group, groups.iter().map(|(name, _)| name.as_str()));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`? `/etc/group` lists them"),
                None => "`/etc/group` lists them; a group of a directory service is named by its number".to_string(),
            };
            node.error_with_hint(format!("there is no group `{}` on this host", sanitise::text(&group)), hint);
            return None;
        };
        Some(Share { group, gid })
    });
    table.finish(&[]);
    share
}

/// The groups of this host without asking a directory service, which may be what is down.
fn groups() -> Vec<(String, u32)> {
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_string(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().take(GROUPS_MAX).filter_map(group).collect()
}

/// Gives a state directory and the incidents in it to the group, or takes them back when there is none. What is made in
/// there later follows by itself.
///
/// # Errors
/// What could not be given, first of all when this account is not in the group.
pub fn apply(state_dir: &Path, share: Option<&Share>) -> io::Result<()> {
    let incidents = state_dir.join(INCIDENTS);
    let Some(share) = share else {
        let mode = |path: &Path| fs::symlink_metadata(path).map_or(0, |it| it.mode() & 0o7777);
        if mode(&incidents) == SHARED_DIR_MODE {
            give_tree(&incidents, &Grant { gid: None, folders: DIR_MODE, files: FILE_MODE }, DEPTH_MAX)?;
        }
        return if mode(state_dir) == STATE_MODE { give(state_dir, None, DIR_MODE) } else { Ok(()) };
    };
    give(state_dir, Some(share.gid), STATE_MODE)?;
    match DirBuilder::new().mode(DIR_MODE).create(&incidents) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let grant = Grant { gid: Some(share.gid), folders: SHARED_DIR_MODE, files: SHARED_FILE_MODE };
    give_tree(&incidents, &grant, DEPTH_MAX)
}

/// To whom things are given, and how far they are opened.
struct Grant {
    gid: Option<u32>,
    folders: u32,
    files: u32,
}

fn give_tree(folder: &Path, grant: &Grant, depth: usize) -> io::Result<()> {
    give(folder, grant.gid, grant.folders)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // A link may lead anywhere.
        if kind.is_dir() && depth > 0 {
            give_tree(&entry.path(), grant, depth - 1)?;
        } else if kind.is_file() {
            give(&entry.path(), grant.gid, grant.files)?;
        }
    }
    Ok(())
}

/// What belongs to another account was made by a member, and is shared already.
fn give(path: &Path, gid: Option<u32>, mode: u32) -> io::Result<()> {
    let with_path = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    // By the opened file: a member could put a link in its place between a look and a change.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // Another account's, and private by its own doing.
        Err(Errno::ACCESS | Errno::LOOP) => return Ok(()),
        Err(error) => return Err(with_path(error.into())),
    };
    let meta = file.metadata()?;
    let ours = rustix::process::geteuid().as_raw();
    let is_plain = meta.is_dir() || meta.is_file();
    if !is_plain || (meta.uid() != ours && ours != 0) {
        return Ok(());
    }
    let moves = gid.is_some_and(|gid| gid != meta.gid());
    if moves {
        fchown(&file, None, gid).map_err(with_path)?;
    }
    // After the change of group, which takes bits away.
    if moves || meta.mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode)).map_err(with_path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_group_is_named_or_numbered_and_an_unknown_one_is_said() {
        let gid = rustix::process::getegid().as_raw();
        let (config, errors) = parse("c.toml", &format!("share = {{ group = \"{gid}\" }}\n"));
        assert_eq!((config.share.map(|it| it.gid), errors.len()), (Some(gid), 0));
        let (config, errors) = parse("c.toml", "share = { group = \"no-such-group\" }\n");
        assert!(config.share.is_none());
        assert_eq!(errors[0].message, "there is no group `no-such-group` on this host");
        let (_, errors) = parse("c.toml", "share = { groop = \"x\" }\n");
        assert!(errors.iter().any(|it| it.message.contains("groop")), "{errors:?}");
    }

    #[test]
    fn incidents_are_the_groups_and_everything_else_stays_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let entries = state.join("incidents/2024/INC-1/entries");
        crate::service::incident::files::create_dirs(&entries).unwrap();
        fs::write(entries.join("a.ndjson"), "x").unwrap();
        fs::write(state.join("store.db"), "x").unwrap();
        fs::set_permissions(state.join("store.db"), fs::Permissions::from_mode(0o600)).unwrap();
        let share = Share { group: "g".into(), gid: rustix::process::getegid().as_raw() };
        std::os::unix::fs::symlink(state.join("store.db"), entries.join("link")).unwrap();
        apply(&state, Some(&share)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&state), 0o710);
        assert_eq!(mode(&entries), 0o2770);
        assert_eq!(mode(&entries.join("a.ndjson")), 0o660);
        assert_eq!(mode(&state.join("store.db")), 0o600);
        // What comes later follows.
        let files = |path: &Path| crate::service::incident::files::write_new(path, b"y").unwrap();
        crate::service::incident::files::create_dirs(&state.join("incidents/2025/INC-2/pins")).unwrap();
        assert!(files(&state.join("incidents/2025/INC-2/pins/0001.log")));
        crate::service::incident::files::replace(&state.join("incidents/2025/INC-2/incident.md"), b"z").unwrap();
        assert_eq!(mode(&state.join("incidents/2025/INC-2/pins")), 0o2770);
        assert_eq!(mode(&state.join("incidents/2025/INC-2/pins/0001.log")), 0o660);
        assert_eq!(mode(&state.join("incidents/2025/INC-2/incident.md")), 0o660);
        // And it ends with the line in the config.
        apply(&state, None).unwrap();
        assert_eq!((mode(&state), mode(&entries), mode(&entries.join("a.ndjson"))), (0o700, 0o700, 0o600));
    }
}
