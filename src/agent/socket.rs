//! Where the socket of a state directory is: bound by whoever holds the directory, found by everybody else.
//!
//! It stands in the state directory itself. Where that is not possible (the path is too long, the directory is
//! read-only or another host's) it stands in a folder of ours for such things, by a name that is made of the state
//! directory's. The lock file names it, so that screens need not guess. Nobody but its account can open it, from the
//! first instant; a socket that somebody else has planted is found out by whose process answers.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::config::paths;
use crate::runtime::lock;
use crate::store::file_system::{self, Kind};

/// Name of the socket in the state directory.
pub const FILE_NAME: &str = "agent.sock";
/// `sun_path` has 108 bytes and a NUL at its end, see `unix(7)`.
const PATH_MAX_BYTES: usize = 107;
/// Screens that may wait to be let in; they are let in at once.
const BACKLOG: i32 = 128;
/// How long a connect may take. It is answered by the kernel; only a full backlog makes it wait.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// How long until a full backlog is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(20);

/// Where a socket may stand.
#[derive(Debug, Clone)]
pub struct Places {
    /// The state directory that it belongs to.
    pub state_dir: PathBuf,
    /// `$XDG_RUNTIME_DIR`, else `/run/user/<uid>`.
    pub runtime_dir: Option<PathBuf>,
    /// The directory of temporary files.
    pub temp_dir: PathBuf,
}

impl Places {
    /// Those of this process.
    pub fn of(state_dir: &Path) -> Self {
        let named = std::env::var_os("XDG_RUNTIME_DIR").filter(|it| !it.is_empty()).map(PathBuf::from);
        let usual = || PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()));
        Self {
            state_dir: state_dir.to_path_buf(),
            runtime_dir: Some(named.unwrap_or_else(usual)),
            temp_dir: std::env::temp_dir(),
        }
    }

    /// The path in the state directory.
    fn first(&self) -> PathBuf {
        self.state_dir.join(FILE_NAME)
    }

    /// The folders of ours that a socket may stand in otherwise, the best first.
    fn folders(&self) -> Vec<PathBuf> {
        let ours = rustix::process::getuid().as_raw();
        let runtime = self.runtime_dir.iter().filter(|it| fs::metadata(it).is_ok_and(|it| it.uid() == ours));
        let mut folders: Vec<_> = runtime.map(|it| it.join("hotseat")).collect();
        folders.push(self.temp_folder(ours));
        folders
    }

    /// The folder of an account below the directory of temporary files.
    fn temp_folder(&self, uid: u32) -> PathBuf {
        self.temp_dir.join(format!("hotseat-{uid}"))
    }

    /// The name in such a folder: the same for everybody who calls the state directory by whatever path.
    fn name(&self) -> String {
        let real = fs::canonicalize(&self.state_dir).unwrap_or_else(|_| self.state_dir.clone());
        let hash = Sha256::digest(real.as_os_str().as_bytes());
        let hex: String = hash.iter().take(8).map(|it| format!("{it:02x}")).collect();
        format!("{hex}.sock")
    }
}

/// The group whose members may attach, besides our own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its number.
    pub gid: u32,
}

/// A bound socket. Its file goes with it, unless another has taken its place.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// Device and inode, to know the file again.
    file: (u64, u64),
    /// Why it does not stand in the state directory, when it does not.
    pub elsewhere: Option<String>,
}

impl Bound {
    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True while screens find it: programs that tidy temporary files up take sockets, too.
    pub fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|it| it == self.file)
    }
}

impl Bound {
    /// Opens it to the members of a group, or to nobody but our own account again.
    ///
    /// # Errors
    /// When this account is not in the group; then it is for our account alone.
    pub fn share(&self, share: Option<Share>) -> io::Result<()> {
        // One that was tidied away is bound again as it should be then.
        if !self.is_there() {
            return Ok(());
        }
        let folder = self.elsewhere.as_ref().and_then(|_| self.path.parent());
        let parts = [Some((self.path.as_path(), 0o600, 0o660)), folder.map(|it| (it, 0o700, 0o710))];
        for (path, private, shared) in parts.into_iter().flatten() {
            // In this order nobody of the group before gets in meanwhile.
            fs::set_permissions(path, fs::Permissions::from_mode(private))?;
            let gid = share.map_or_else(|| rustix::process::getegid().as_raw(), |it| it.gid);
            std::os::unix::fs::lchown(path, None, Some(gid))?;
            if share.is_some() {
                fs::set_permissions(path, fs::Permissions::from_mode(shared))?;
            }
        }
        Ok(())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_there() {
            // Whoever binds next takes it away otherwise.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the socket of a state directory, in the first place that allows it. What an earlier holder left is taken
/// away: call it only with the lock of the directory held.
///
/// # Errors
/// When no place allows it; what is wrong with each, in words.
pub fn bind(places: &Places, share: Option<Share>) -> Result<(UnixListener, Bound), String> {
    bind_on(file_system::of(&places.state_dir), places, share)
}

/// As [`bind`], on a file system of this name and kind.
fn bind_on(
    file_system: (&'static str, Kind),
    places: &Places,
    share: Option<Share>,
) -> Result<(UnixListener, Bound), String> {
    let first = places.first();
    let tried = match file_system {
        (name, Kind::Network) => Err(format!("the directory is on {name}, which other hosts see as well")),
        _ => bind_at(&first, share).map_err(|error| brief(&error)),
    };
    let why = match tried {
        Ok((listener, file)) => return Ok((listener, Bound { path: first, file, elsewhere: None })),
        Err(why) => why,
    };
    let mut whys = vec![format!("`{}`: {why}", first.display())];
    for folder in places.folders() {
        let path = folder.join(places.name());
        match private_folder(&folder, share).and_then(|()| bind_at(&path, share)) {
            Ok((listener, file)) => return Ok((listener, Bound { path, file, elsewhere: Some(why) })),
            Err(error) => whys.push(format!("`{}`: {}", path.display(), brief(&error))),
        }
    }
    Err(whys.join("; "))
}

/// Binds a path for the account alone; the group of `share` is let in afterwards.
fn bind_at(path: &Path, share: Option<Share>) -> io::Result<(UnixListener, (u64, u64))> {
    let bytes = path.as_os_str().len();
    if bytes > PATH_MAX_BYTES {
        return Err(io::Error::other(format!("a socket's path has {PATH_MAX_BYTES} bytes at most, this has {bytes}")));
    }
    if path.to_str().is_none_or(|it| it.chars().any(char::is_control)) {
        return Err(io::Error::other("the path is no text"));
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("something that is no socket stands there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux makes the file with the mode of the socket. A umask would do the same, but for all threads at once, and a
    // change of mode afterwards would leave an instant in which others get in.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = identity(path)?;
    rustix::net::listen(&socket, BACKLOG)?;
    if let Some(Share { gid }) = share {
        std::os::unix::fs::lchown(path, None, Some(gid))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    }
    Ok((UnixListener::from(socket), file))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|it| (it.dev(), it.ino()))
}

/// Makes a folder of ours and lets the group of `share` through it.
fn private_folder(folder: &Path, share: Option<Share>) -> io::Result<()> {
    paths::make_own_folder(folder)?;
    if let Some(Share { gid }) = share {
        std::os::unix::fs::lchown(folder, None, Some(gid))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o710))?;
    }
    Ok(())
}

/// An error of the system without its number.
fn brief(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No socket is there, or nobody listens: nobody serves this state directory.
    #[error("nobody serves screens of `{}`", .0.display())]
    Nobody(PathBuf),
    /// A process of somebody else answers.
    #[error("the socket `{}` belongs to another account, uid {uid} (it is not trusted; take it away)", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Whose process it is.
        uid: u32,
    },
    /// It is another account's, and not opened to ours.
    #[error("`{}` is open to `{owner}` and the group of its `share` (ask `{owner}` to be in it)", path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
        /// Whose it is, by login.
        owner: String,
    },
    /// It is another account's, and opened to nobody else.
    #[error(
        "`{}` is open to `{owner}` alone (`{owner}` can share it: `share = {{ group = \"…\" }}` in the config)",
        path.display()
    )]
    Unshared {
        /// The socket.
        path: PathBuf,
        /// Whose it is, by login.
        owner: String,
    },
    /// There is one, but it cannot be used.
    #[error("could not connect to `{}`: {why}", path.display())]
    Failed {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Connects to whoever serves a state directory.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(places: &Places) -> Result<UnixStream, ConnectError> {
    let ours = rustix::process::getuid().as_raw();
    let owner = fs::metadata(&places.state_dir).map_or(ours, |it| it.uid());
    let mut failed = None;
    for path in found(places) {
        let error = match timeout(CONNECT_DEADLINE, connect_to(&path)).await {
            Ok(Ok(stream)) => match stream.peer_cred() {
                Ok(peer) if [ours, 0, owner].contains(&peer.uid()) => return Ok(stream),
                Ok(peer) => ConnectError::Foreign { path, uid: peer.uid() },
                Err(error) => ConnectError::Failed { path, why: brief(&error) },
            },
            Ok(Err(error)) if is_nobody(&error) => continue,
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied && owner != ours => {
                let owner = paths::login_of(owner).unwrap_or_else(|| format!("uid-{owner}"));
                if is_shared(&path) {
                    ConnectError::Closed { path, owner }
                } else {
                    ConnectError::Unshared { path, owner }
                }
            }
            Ok(Err(error)) => ConnectError::Failed { path, why: brief(&error) },
            Err(_) => ConnectError::Failed { path, why: "it does not answer".into() },
        };
        failed.get_or_insert(error);
    }
    Err(failed.unwrap_or_else(|| ConnectError::Nobody(places.state_dir.clone())))
}

/// Where the socket may be, the likeliest first.
fn found(places: &Places) -> Vec<PathBuf> {
    let published = lock::holder(&places.state_dir).and_then(|it| it.socket);
    let mut paths = vec![places.first()];
    let name = places.name();
    paths.extend(places.folders().into_iter().map(|it| it.join(&name)));
    // Of a shared directory another account may be the one who serves it; whose process answers is asked afterwards.
    if let Ok(owner) = fs::metadata(&places.state_dir).map(|it| places.temp_folder(it.uid()).join(&name))
        && !paths.contains(&owner)
    {
        paths.push(owner);
    }
    paths.retain(|it| published.as_ref() != Some(it));
    paths.splice(0..0, published);
    let is_absent = |it: &Path| fs::symlink_metadata(it).is_err_and(|error| is_nobody(&error));
    // What may not be looked at may be there, and then it is said that it is not for us.
    paths.retain(|it| it.as_os_str().len() <= PATH_MAX_BYTES && !is_absent(it));
    paths
}

/// True when the group of a socket, or of the folder that hides it, is let in.
fn is_shared(path: &Path) -> bool {
    let is_open = |it: &Path| fs::symlink_metadata(it).ok().map(|it| it.mode() & 0o070 != 0);
    is_open(path).or_else(|| is_open(path.parent()?)).unwrap_or_default()
}

async fn connect_to(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            // So many come at once that they have to queue.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BACKLOG_RETRY).await,
            done => return done,
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(dir: &Path) -> Places {
        Places { state_dir: dir.join("state"), runtime_dir: None, temp_dir: dir.to_path_buf() }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").mode() & 0o777
    }

    fn setup() -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let places = places(dir.path());
        fs::create_dir(&places.state_dir).expect("made");
        (dir, places)
    }

    #[tokio::test]
    async fn it_is_for_its_account_alone_and_goes_with_its_holder() {
        let (_dir, places) = setup();
        let (listener, bound) = bind(&places, None).expect("bound");
        assert_eq!(bound.path(), places.state_dir.join(FILE_NAME));
        assert_eq!((mode(bound.path()), &bound.elsewhere), (0o600, &None));
        connect(&places).await.expect("it listens");
        drop(listener);
        assert!(matches!(connect(&places).await, Err(ConnectError::Nobody(_))), "nobody listens");
        let path = bound.path().to_path_buf();
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_holder_left_is_replaced_and_its_successor_is_left_alone() {
        let (dir, places) = setup();
        let (_, killed) = bind(&places, None).expect("bound");
        // Otherwise the file system may give its number out again at once.
        fs::hard_link(killed.path(), dir.path().join("kept")).expect("linked");
        let (_listener, bound) = bind(&places, None).expect("bound again");
        assert!(bound.is_there() && !killed.is_there());
        drop(killed);
        assert!(bound.is_there(), "it took away what was not its own");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let (dir, places) = setup();
        fs::write(places.first(), "a note").expect("written");
        let (_listener, bound) = bind(&places, None).expect("elsewhere");
        assert_eq!(fs::read_to_string(places.first()).expect("still there"), "a note");
        assert!(bound.path().starts_with(dir.path().join(format!("hotseat-{}", rustix::process::getuid().as_raw()))));
        assert_eq!(bound.elsewhere.as_deref(), Some("something that is no socket stands there"));
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_has_its_socket_elsewhere_and_it_is_found() {
        let (dir, places) = setup();
        let long = dir.path().join("x".repeat(100)).join("state");
        fs::create_dir_all(&long).expect("made");
        let places = Places { state_dir: long, ..places };
        let (_listener, bound) = bind(&places, None).expect("elsewhere");
        let why = bound.elsewhere.clone().unwrap_or_default();
        assert!(why.starts_with("a socket's path has 107 bytes at most, this has "), "{why}");
        assert_eq!(mode(bound.path().parent().expect("a folder")), 0o700);
        assert_eq!(mode(bound.path()), 0o600);
        connect(&places).await.expect("found");
    }

    #[test]
    fn a_folder_that_somebody_else_could_have_planted_is_not_used() {
        let (dir, places) = setup();
        let places = Places { state_dir: dir.path().join("missing"), ..places };
        let planted = &places.folders()[0];
        std::os::unix::fs::symlink(&places.temp_dir, planted).expect("planted");
        let why = bind(&places, None).expect_err("no place is left");
        assert!(why.ends_with("its folder is not ours alone (take it away)"), "{why}");
        fs::remove_file(planted).expect("removed");
        fs::create_dir(planted).expect("made");
        fs::set_permissions(planted, fs::Permissions::from_mode(0o777)).expect("set");
        let why = bind(&places, None).expect_err("no place is left");
        assert!(why.ends_with("its folder is not ours alone (take it away)"), "{why}");
    }

    #[tokio::test]
    async fn on_a_network_file_system_the_socket_is_one_of_this_host_and_is_found() {
        let (dir, places) = setup();
        for name in ["NFS", "CIFS"] {
            let (_listener, bound) = bind_on((name, Kind::Network), &places, None).expect("elsewhere");
            let why = format!("the directory is on {name}, which other hosts see as well");
            assert_eq!(bound.elsewhere, Some(why));
            assert!(!places.first().exists() && bound.path().starts_with(&dir));
            assert_eq!(mode(bound.path()), 0o600);
            connect(&places).await.expect("found");
        }
        // A program that answers for the files may be on this host, and usually is.
        let (_listener, bound) = bind_on(("FUSE", Kind::Fuse), &places, None).expect("bound");
        assert_eq!(bound.path(), places.first());
    }

    #[test]
    fn without_any_place_each_is_named_with_what_is_wrong_with_it() {
        let (dir, places) = setup();
        let nowhere = dir.path().join("none");
        let places = Places { temp_dir: nowhere.clone(), ..places };
        let why = bind_on(("NFS", Kind::Network), &places, None).expect_err("no place is left");
        let folder = format!("hotseat-{}", rustix::process::getuid().as_raw());
        let tried = [places.first(), nowhere.join(folder).join(places.name())];
        assert_eq!(
            why,
            format!(
                "`{}`: the directory is on NFS, which other hosts see as well; `{}`: no such file or directory",
                tried[0].display(),
                tried[1].display()
            )
        );
        let said = crate::agent::server::ServeError::NoPlace(why).to_string();
        assert!(said.ends_with("(put the state directory on a disk of this host, at a short path)"), "{said}");
    }

    #[tokio::test]
    async fn the_lock_file_names_a_socket_in_another_place() {
        let (dir, places) = setup();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let lock::Acquired::Held(held) = lock::StateLock::acquire(&places.state_dir, now).expect("lock") else {
            panic!("nobody else holds it");
        };
        let elsewhere = Places { state_dir: dir.path().join("other"), ..places.clone() };
        fs::create_dir(&elsewhere.state_dir).expect("made");
        let (_listener, bound) = bind(&elsewhere, None).expect("bound");
        assert!(matches!(connect(&places).await, Err(ConnectError::Nobody(_))));
        held.publish(Some(bound.path())).expect("written");
        connect(&places).await.expect("found");
    }

    #[test]
    fn the_group_of_a_share_is_let_in_once_it_is_named() {
        let (_dir, places) = setup();
        let gid = rustix::process::getgid().as_raw();
        let (_listener, bound) = bind(&places, Some(Share { gid })).expect("bound");
        let found = fs::metadata(bound.path()).expect("metadata");
        assert_eq!((found.mode() & 0o777, found.gid()), (0o660, gid));
    }
}
