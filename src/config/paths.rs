//! Where the config, the state and the user's themes live, and who the user and the host are.
//!
//! XDG base directories; `HOTSEAT_CONFIG_DIR` and `HOTSEAT_STATE_DIR` override them for tests, for the demo
//! and for people who keep several worlds apart.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _};
use std::path::{Path, PathBuf};

use directories::BaseDirs;

/// The folder below the XDG directories.
const APPLICATION: &str = "hotseat";

/// Returns a variable of the environment, where an empty one counts as not set.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|it| !it.is_empty())
}

/// Returns the folder of the config: `HOTSEAT_CONFIG_DIR`, else `$XDG_CONFIG_HOME/hotseat`; `None` without a home.
pub fn config_dir() -> Option<PathBuf> {
    let chosen = variable("HOTSEAT_CONFIG_DIR").map(PathBuf::from);
    chosen.or_else(|| BaseDirs::new().map(|it| it.config_dir().join(APPLICATION)))
}

/// Returns where the config is looked for when no one names it: `config.toml` in [`config_dir`].
pub fn config_file() -> Option<PathBuf> {
    config_dir().map(|it| it.join("config.toml"))
}

/// Returns the folder of the user's themes: `themes` in [`config_dir`].
pub fn themes_dir() -> Option<PathBuf> {
    config_dir().map(|it| it.join("themes"))
}

/// Returns where state lives: `HOTSEAT_STATE_DIR`, else `$XDG_STATE_HOME/hotseat`.
///
/// Without a home there is the temporary directory, by uid, so that notes still have a place.
pub fn state_dir() -> PathBuf {
    if let Some(chosen) = variable("HOTSEAT_STATE_DIR") {
        return chosen.into();
    }
    let dirs = BaseDirs::new();
    let base = dirs.as_ref().map(|it| it.state_dir().unwrap_or_else(|| it.data_local_dir()).join(APPLICATION));
    base.unwrap_or_else(|| std::env::temp_dir().join(format!("{APPLICATION}-{}", rustix::process::getuid().as_raw())))
}

/// Makes a directory and its missing parents that only the user may enter. An existing one stays as it is.
///
/// # Errors
/// When it cannot be made or something else stands in its place.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if fs::metadata(path)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Makes a folder that nobody else can put anything in, or makes sure that it is one.
///
/// # Errors
/// When it cannot be made or is not ours alone.
pub fn make_own_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(folder)?;
            let is_ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
            if !is_ours || found.mode() & 0o022 != 0 {
                return Err(io::Error::other("its folder is not ours alone (take it away)"));
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Returns the person at this screen: `HOTSEAT_USER`, the ssh or login user, else the uid.
///
/// On a shared account only `HOTSEAT_USER` tells people apart. `LC_HOTSEAT_USER` counts too, because sshd
/// commonly accepts `LC_*` from the client (`SendEnv LC_HOTSEAT_USER`) and nothing else.
pub fn user_name() -> String {
    let named = ["HOTSEAT_USER", "LC_HOTSEAT_USER", "LOGNAME", "USER"].iter().find_map(|it| {
        let name = clean_name(&std::env::var(it).unwrap_or_default());
        (!name.is_empty()).then_some(name)
    });
    let uid = rustix::process::getuid().as_raw();
    named.or_else(|| login_of(uid)).unwrap_or_else(|| format!("uid-{uid}"))
}

/// Returns where this process's person sits: their terminal, `pts/3`, or without one the process, `pid 4242`.
pub fn seat() -> String {
    let name = rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()).ok();
    let terminal = name.and_then(|it| Some(it.to_str().ok()?.trim_start_matches("/dev/").to_string()));
    terminal.unwrap_or_else(|| format!("pid {}", rustix::process::getpid().as_raw_nonzero()))
}

/// Returns the login name of a uid, when the host itself knows it.
///
/// Looks where it is without asking a directory service, which may be what is down.
pub fn login_of(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|it| it.split(':').nth(2).is_some_and(|it| it.parse() == Ok(uid)))?;
    Some(clean_name(line.split(':').next()?)).filter(|it| !it.is_empty())
}

/// Returns the host's name: the first label of what `uname -n` says.
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().into_owned();
    let label = clean_name(name.split('.').next().unwrap_or_default());
    if label.is_empty() { "localhost".to_string() } else { label }
}

/// Longest name of a person or host; it becomes part of file names.
const NAME_MAX_CHARS: usize = 64;

/// Leaves of a person's or host's name what may stand in a file name and on a screen; may leave nothing.
pub fn clean_name(name: &str) -> String {
    let kept = name.trim().chars().filter(|it| it.is_alphanumeric() || "-_.+@".contains(*it));
    kept.take(NAME_MAX_CHARS).collect::<String>().trim_start_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_a_file_name() {
        assert_eq!(clean_name(" ../alice\u{1b}[2J/x "), "alice2Jx");
        assert_eq!(clean_name("李雷"), "李雷");
    }

    #[test]
    fn a_private_directory_is_for_the_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a/b");
        make_private_dir(&path).expect("made");
        make_private_dir(&path).expect("made again");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o700);
        fs::write(dir.path().join("file"), "").expect("written");
        assert!(make_private_dir(&dir.path().join("file")).is_err());
    }
}
