//! Beats on disk: one file a heartbeat in the state directory, one JSON object a line, only ever appended.
//!
//! The runtime appends here and so does `hotseat beat` when no runtime runs; both hold the same lock, and what
//! was appended is on disk before anybody is told so. A file that has grown is written anew with its end.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::clock;
use crate::domain::probe::heartbeat::{Beat, Beats, BootTime, Clocks, OUTPUT_MAX, Signal};
use crate::domain::sanitise;

/// The directory in the state directory.
pub const DIRECTORY: &str = "beats";
/// Taken by whoever appends: files are replaced when they have grown and cannot carry it.
const LOCK: &str = "lock";
/// End of the files' names.
const SUFFIX: &str = ".ndjson";
/// A file larger than this is written anew: a hundred beats with a little output, a dozen with all they may have.
const FILE_MAX: u64 = 256 << 10;
/// Beats that stay when a file is written anew; what is judged looks at the last few.
const KEPT: usize = 12;
/// Largest file that is read: somebody else's, when it is larger.
const READ_MAX: u64 = 8 << 20;
/// Bytes of a name that a file name has room for, beside a hash that keeps longer ones apart.
const NAME_MAX: usize = 160;

/// The file of a heartbeat.
pub fn path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(DIRECTORY).join(file_name(name))
}

/// The file name of a heartbeat: letters and digits stay, everything else is `%` and two digits.
pub fn file_name(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    if encoded.len() > NAME_MAX {
        let hash = Sha256::digest(name.as_bytes());
        let hash: String = hash.iter().take(12).map(|it| format!("{it:02x}")).collect();
        encoded.truncate(NAME_MAX);
        encoded = format!("{encoded}~{hash}");
    }
    encoded + SUFFIX
}

/// Cuts what a job said to what is kept of it, harmless and on a character's end.
pub fn output(bytes: &[u8]) -> String {
    // A character has up to four bytes, and what is taken out makes it shorter, never longer than the sign for it.
    let mut text = sanitise::multiline(&String::from_utf8_lossy(&bytes[..bytes.len().min(OUTPUT_MAX)]));
    let mut end = text.len().min(OUTPUT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.trim_end().to_string()
}

/// What the clock that nobody can set says now.
pub fn boot_time() -> Option<BootTime> {
    clock::boot_time().map(|(boot, ms)| BootTime { boot, ms })
}

/// Appends a beat; it is on disk when this returns. Blocks.
///
/// # Errors
/// When the state directory cannot be written.
pub fn append(state_dir: &Path, name: &str, beat: &Beat) -> io::Result<()> {
    let directory = state_dir.join(DIRECTORY);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join(LOCK))?;
    lock.lock()?;
    let path = path(state_dir, name);
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path)?;
    let size = file.metadata()?.len();
    if size > FILE_MAX {
        file = written_anew(&directory, &path)?;
    }
    let mut line = serde_json::to_vec(beat)?;
    line.push(b'\n');
    // A line that was cut by a crash must not swallow this one.
    if !ends_with_newline(&mut file)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    file.sync_all()?;
    if is_new {
        File::open(&directory)?.sync_all()?;
    }
    Ok(())
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Keeps when it was configured, the last good beat, the last anchor and the last few, and opens the new file for more.
fn written_anew(directory: &Path, path: &Path) -> io::Result<File> {
    let mut beats = parse(&fs::read(path)?);
    let from = beats.len().saturating_sub(KEPT);
    let last = beats.split_off(from);
    let configured = beats.iter().position(|it| it.signal == Signal::Configured);
    let good = beats.iter().rposition(|it| it.signal.is_good());
    let anchor = beats.iter().rposition(|it| it.signal == Signal::Anchored);
    // In the order in which they came: an anchor is about what is before it.
    let mut kept: Vec<usize> = [configured, good, anchor].into_iter().flatten().collect();
    kept.sort_unstable();
    let kept: Vec<&Beat> = kept.into_iter().filter_map(|it| beats.get(it)).collect();
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    for beat in kept.into_iter().chain(&last) {
        serde_json::to_writer(&mut file, beat)?;
        file.write_all(b"\n")?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|it| it.error)?;
    File::open(directory)?.sync_all()?;
    OpenOptions::new().append(true).read(true).open(path)
}

/// Reads what the beats of a heartbeat add up to; nothing when there is no file. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn read(state_dir: &Path, name: &str, clocks: &Clocks) -> io::Result<Beats> {
    let file = match File::open(path(state_dir, name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Beats::default()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    Ok(Beats::of(parse(&bytes), clocks))
}

/// A line that is no beat is left out: it was cut by a crash, or a newer release knows more signals.
fn parse(bytes: &[u8]) -> Vec<Beat> {
    bytes.split(|it| *it == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jiff::Timestamp;

    use super::*;

    fn beat(id: usize, signal: Signal, text: &str) -> Beat {
        Beat {
            id: id.to_string(),
            at: Timestamp::from_second(id as i64).unwrap(),
            boot: None,
            signal,
            text: text.into(),
        }
    }

    fn read(state_dir: &Path, name: &str) -> io::Result<Beats> {
        super::read(state_dir, name, &Clocks { now: Timestamp::UNIX_EPOCH, boot: None })
    }

    #[test]
    fn beats_outlive_a_crash_in_the_middle_of_a_line() {
        let state = tempfile::tempdir().unwrap();
        append(state.path(), "nightly", &beat(1, Signal::Success, "")).unwrap();
        let path = path(state.path(), "nightly");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"id\":\"2\",\"at\":");
        fs::write(&path, bytes).unwrap();
        append(state.path(), "nightly", &beat(3, Signal::Exit(1), "disk full")).unwrap();
        let beats = read(state.path(), "nightly").unwrap();
        assert_eq!(
            (beats.good, beats.last.map(|it| it.text)),
            (Timestamp::from_second(1).ok(), Some("disk full".into()))
        );
    }

    #[test]
    fn a_file_that_has_grown_keeps_what_is_judged() {
        let state = tempfile::tempdir().unwrap();
        append(state.path(), "x", &beat(1, Signal::Configured, "")).unwrap();
        append(state.path(), "x", &beat(9, Signal::Success, "")).unwrap();
        append(state.path(), "x", &beat(2, Signal::Anchored, "")).unwrap();
        let long = "y".repeat(OUTPUT_MAX);
        for id in 10..87 {
            append(state.path(), "x", &beat(id, Signal::Fail, &long)).unwrap();
        }
        let size = fs::metadata(path(state.path(), "x")).unwrap().len();
        assert!(size < FILE_MAX + 2 * OUTPUT_MAX as u64, "{size}");
        let beats = read(state.path(), "x").unwrap();
        let second = |it| Timestamp::from_second(it).ok();
        assert_eq!((beats.configured, beats.good), (second(1), second(2)));
        assert_eq!(beats.last.map(|it| it.id), Some("86".into()));
    }

    #[test]
    fn every_name_has_a_file_name_of_its_own() {
        assert_eq!(file_name("nightly-backup"), "nightly-backup.ndjson");
        assert_eq!(file_name("../etc a"), "%2e%2e%2fetc%20a.ndjson");
        let long = |end: &str| file_name(&("备".repeat(60) + end));
        assert!(long("a").len() < 255 && long("a") != long("b"));
    }

    #[test]
    fn output_is_cut_on_a_character_and_harmless() {
        let text = output(format!("\u{1b}[31mé{}", "ü".repeat(OUTPUT_MAX)).as_bytes());
        assert!(text.len() <= OUTPUT_MAX && text.starts_with('é') && !text.contains('\u{1b}'), "{}", &text[..20]);
    }
}
