//! What this host has run out of, told from errors of the system and by a look of our own.

use std::fs::File;
use std::io;

use rustix::io::Errno;

use crate::domain::probe::outcome::Lack;

/// Always there, and never waits for anybody.
const NOTHING: &str = "/dev/null";

/// Descriptors that checks leave to whoever tells of it: a connection of a notifier, what resolves its name, the store, a
/// screen or a command that asks.
const RESERVE: usize = 8;

/// What this host lacks when something ends with that error.
pub fn of(error: &io::Error) -> Option<Lack> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(Lack::Files),
        Errno::NOBUFS | Errno::NOMEM => Some(Lack::Memory),
        Errno::NOSPC | Errno::DQUOT => Some(Lack::Disk),
        _ => None,
    }
}

/// The same of a process that could not be started.
pub fn of_start(error: &io::Error) -> Option<Lack> {
    if Errno::from_io_error(error) == Some(Errno::AGAIN) { Some(Lack::Processes) } else { of(error) }
}

/// What this host lacks now, as far as opening a file tells: libraries that resolve names or read folders hide why
/// they could not.
pub fn now() -> Option<Lack> {
    take(1)
}

/// What this host lacks now for a check, which leaves the last `RESERVE` descriptors alone. Costs as many opened files.
pub fn for_check() -> Option<Lack> {
    take(RESERVE + 1)
}

fn take(count: usize) -> Option<Lack> {
    let files: io::Result<Vec<File>> = (0..count).map(|_| File::open(NOTHING)).collect();
    of(&files.err()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_tell_what_is_lacking_and_others_do_not() {
        let lack = |errno: Errno| of(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!([Errno::MFILE, Errno::NFILE].map(lack), [Some(Lack::Files); 2]);
        assert_eq!([Errno::NOMEM, Errno::NOSPC].map(lack), [Some(Lack::Memory), Some(Lack::Disk)]);
        // No address of the right family is a matter of one probe; nobody else lacks it.
        assert_eq!([Errno::CONNREFUSED, Errno::ADDRNOTAVAIL, Errno::ACCESS, Errno::AGAIN].map(lack), [None; 4]);
        let again = io::Error::from_raw_os_error(Errno::AGAIN.raw_os_error());
        assert_eq!(of_start(&again), Some(Lack::Processes));
        assert_eq!(of(&io::Error::other("too many open files")), None, "what a peer says is not ours");
        assert_eq!((now(), for_check()), (None, None));
    }
}
