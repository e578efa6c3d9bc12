//! Packed files: recognised by their first bytes, unpacked as a stream into a spool that can be read while
//! it still grows.
//!
//! Of an archive that is broken or cut off, what comes before the damage is kept. What it unpacks to is
//! bounded by the spool, whatever its size says, so that a decompression bomb costs time and nothing else.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::domain::format;
use crate::logstore::segment::lock;
use crate::logstore::spool::Spool;
use crate::logstore::transcode::{TextReader, TextStream};

/// Archives unpacked at a time: two cores, and the screen has the rest.
const MAX_WORKERS: usize = 2;
/// Bytes an archive may unpack to before it is given up: a minute or two of a core.
const MAX_UNPACKED_BYTES: u64 = 64 << 30;
/// Memory that xz may take for its dictionary; `xz -9` needs 65 MiB.
const MAX_XZ_MEMORY_BYTES: u64 = 192 << 20;
/// Bytes unpacked in one go. What stands in one go with the damage is lost with it.
const PIECE_BYTES: usize = 32 * 1024;
/// Bytes read from the archive in one go.
const READ_BYTES: usize = 128 * 1024;
/// Where a tar archive says that it is one.
const TAR_MARK: (usize, &[u8]) = (257, b"ustar");

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952, one member after the other.
    Gzip,
    /// RFC 8878, one frame after the other.
    Zstd,
    /// bzip2, one stream after the other.
    Bzip2,
    /// xz, one stream after the other.
    Xz,
}

/// Endings of names that say how a file is packed.
const SUFFIXES: [&str; 6] = [".gz", ".zst", ".bz2", ".xz", ".tgz", ".zstd"];

impl Packing {
    /// What a file's first bytes say. Its name says nothing.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        match beginning {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // A frame, or one to be passed over, as parallel packers put first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            // A block, or the end of an empty stream.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    /// True when more bytes behind these could say how it is packed, so that it is worth to wait for them.
    fn is_open(beginning: &[u8]) -> bool {
        const MARKS: [&[u8]; 6] = [
            &[0x1f, 0x8b, 8],
            &[0x28, 0xb5, 0x2f, 0xfd],
            &[0x50, 0x2a, 0x4d, 0x18],
            &[b'B', b'Z', b'h', b'1', 0x31, 0x41, 0x59],
            &[b'B', b'Z', b'h', b'1', 0x17, 0x72, 0x45],
            &[0xfd, b'7', b'z', b'X', b'Z', 0],
        ];
        let agrees = |mark: &[u8]| {
            let is_same = |(at, (byte, wanted)): (usize, (&u8, &u8))| match (wanted, at) {
                (0x50, 0) => (0x50..=0x5f).contains(byte),
                (b'1', 3) => (b'1'..=b'9').contains(byte),
                _ => byte == wanted,
            };
            beginning.len() < mark.len() && beginning.iter().zip(mark).enumerate().all(is_same)
        };
        MARKS.into_iter().any(agrees)
    }

    /// Makes a reader of what is packed.
    fn reader<'r>(self, archive: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
        let archive = BufReader::with_capacity(READ_BYTES, archive);
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(archive)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(archive)?),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(archive)),
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(MAX_XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(archive, stream))
            }
        })
    }
}

/// Reads a stream as the text of what is packed in it, told by its first bytes as of a file, or of what it is. Says
/// whether it is packed.
///
/// # Errors
/// When it can not be read.
pub fn unpacking<'r>(mut stream: impl Read + 'r) -> io::Result<(Box<dyn Read + 'r>, bool)> {
    let (mut beginning, mut byte) = (Vec::new(), [0]);
    // Nothing of a line is held back that can not be the mark of a packer.
    while Packing::is_open(&beginning) {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => beginning.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let packing = Packing::of(&beginning);
    let stream = io::Cursor::new(beginning).chain(stream);
    Ok(match packing {
        Some(packing) => (Box::new(TextReader::new(packing.reader(stream)?)), true),
        None => (Box::new(TextReader::new(stream)), false),
    })
}

/// Why an archive can not be read further, in words.
pub fn damage(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends in the middle".to_string(),
        _ => error.to_string(),
    }
}

/// A file's name without the ending that says how it is packed.
pub fn without_suffix(name: &str) -> &str {
    SUFFIXES.iter().find_map(|it| name.strip_suffix(it)).filter(|it| !it.is_empty()).unwrap_or(name)
}

/// What became of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes that came out of it.
    pub read_bytes: u64,
    /// Why there is no more, in words; `None` when it was read to its end.
    pub broken: Option<String>,
}

/// Unpacks into a spool. `grew` is called after each piece and ends it with `false`.
///
/// Lines without a time of their own are as old as the archive: it is no news that they come now.
pub fn unpack(archive: File, packing: Packing, spool: &mut Spool, grew: &mut dyn FnMut() -> bool) -> Unpacked {
    let mut read_bytes = 0;
    let modified = archive.metadata().ok().and_then(|it| Timestamp::from_second(it.mtime()).ok()).unwrap_or_default();
    let result = unpack_all(archive, packing, modified, spool, &mut read_bytes, grew);
    Unpacked { read_bytes, broken: result.err().as_ref().map(damage) }
}

fn unpack_all(
    archive: File,
    packing: Packing,
    modified: Timestamp,
    spool: &mut Spool,
    read_bytes: &mut u64,
    grew: &mut dyn FnMut() -> bool,
) -> io::Result<()> {
    let again = archive.try_clone()?;
    let mut reader = packing.reader(archive)?;
    let mut stream = TextStream::default();
    let (mut piece, mut buffer) = (vec![0; PIECE_BYTES], Vec::new());
    loop {
        let count = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let last = before_damage(again, packing, *read_bytes);
                *read_bytes += last.len() as u64;
                spool.append(stream.text(&last, &mut buffer), modified);
                spool.append(&stream.finish(), modified);
                return Err(error);
            }
        };
        let (at, mark) = TAR_MARK;
        if *read_bytes == 0 && piece[..count].get(at..at + mark.len()) == Some(mark) {
            return Err(io::Error::other("it holds a tar archive; unpack it and open the files in it"));
        }
        *read_bytes += count as u64;
        spool.append(stream.text(&piece[..count], &mut buffer), modified);
        if let Some(why) = spool.shortage() {
            return Err(io::Error::other(why.to_string()));
        }
        if *read_bytes > MAX_UNPACKED_BYTES {
            let limit = format::bytes(MAX_UNPACKED_BYTES);
            return Err(io::Error::other(format!("it unpacks to more than {limit}, which is as far as hotseat goes")));
        }
        if !grew() {
            return Ok(());
        }
    }
    spool.append(&stream.finish(), modified);
    Ok(())
}

/// What comes out of an archive behind `from` bytes and before the damage: a reader that meets it keeps what it had made
/// of the piece so far, so it is asked again, byte by byte.
fn before_damage(mut archive: File, packing: Packing, from: u64) -> Vec<u8> {
    let mut last = Vec::new();
    let Ok(mut reader) = archive.seek(SeekFrom::Start(0)).and_then(|_| packing.reader(archive)) else { return last };
    let skipped = io::copy(&mut (&mut reader).take(from), &mut io::sink());
    let mut byte = [0];
    while skipped.as_ref().is_ok_and(|it| *it == from)
        && last.len() < PIECE_BYTES
        && matches!(reader.read(&mut byte), Ok(1))
    {
        last.push(byte[0]);
    }
    last
}

/// The first bytes of what is packed, to tell whether it is known already. `None` when they can not be had.
pub fn beginning(archive: &File, packing: Packing, length: usize) -> Option<Vec<u8>> {
    let mut reader = packing.reader(archive.try_clone().ok()?).ok()?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that unpack, as many as are good for the host. They end when there is nothing left to do.
#[derive(Clone, Default)]
pub struct Workers {
    shared: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// Bounded by the files that may be open.
    jobs: VecDeque<Job>,
    running: usize,
}

impl Workers {
    /// Does a job when its turn comes, after those that came before.
    pub fn start(&self, job: impl FnOnce() + Send + 'static) {
        let mut waiting = lock(&self.shared);
        waiting.jobs.push_back(Box::new(job));
        if waiting.running >= MAX_WORKERS {
            return;
        }
        waiting.running += 1;
        drop(waiting);
        let shared = self.shared.clone();
        let spawned = std::thread::Builder::new().name("log-unpack".into()).spawn(move || run(&shared));
        if let Err(error) = spawned {
            tracing::warn!("unpacking has no thread of its own: {error}");
            run(&self.shared);
        }
    }
}

fn run(shared: &Mutex<Waiting>) {
    loop {
        let mut waiting = lock(shared);
        let Some(job) = waiting.jobs.pop_front() else {
            waiting.running -= 1;
            return;
        };
        drop(waiting);
        // A worker that went with its job would be missing for all that come after it.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("unpacking an archive ended with a panic");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Seek, Write};

    use super::*;
    use crate::domain::ids::{HostId, SourceId};
    use crate::domain::log::GapKind;
    use crate::logstore::source::Source;
    use crate::logstore::spool::{Room, SpoolBounds};

    const ALL: [Packing; 4] = [Packing::Gzip, Packing::Zstd, Packing::Bzip2, Packing::Xz];

    /// Packs as the usual programs do.
    pub fn pack(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(text).and_then(|()| writer.finish())
            }
            Packing::Zstd => zstd::Encoder::new(Vec::new(), 1).and_then(|mut writer| {
                // As the program does; without it damage may go unnoticed.
                writer.include_checksum(true)?;
                writer.write_all(text)?;
                writer.finish()
            }),
            Packing::Bzip2 => {
                let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                writer.write_all(text).and_then(|()| writer.finish())
            }
            Packing::Xz => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
                writer.write_all(text).and_then(|()| writer.finish())
            }
        }
        .expect("packed")
    }

    fn archive(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn unpacked(bytes: &[u8], bounds: SpoolBounds) -> (String, Option<GapKind>, Unpacked) {
        let packing = Packing::of(bytes).expect("recognised");
        let directory = tempfile::tempdir().unwrap();
        let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a"));
        let mut spool = Spool::of_archive(source.clone(), directory.path(), bounds, &Room::default());
        let result = unpack(archive(bytes), packing, &mut spool, &mut || true);
        let snapshot = source.snapshot();
        let text: Vec<u8> = snapshot.parts.iter().flat_map(|it| it.segment.read(0, it.size_bytes).unwrap()).collect();
        let gap = snapshot.parts.first().and_then(|it| it.gap.as_ref().map(|gap| gap.kind.clone()));
        (String::from_utf8_lossy(&text).into_owned(), gap, result)
    }

    fn lines(count: usize) -> String {
        (0..count).map(|it| format!("2026-08-19T00:00:00Z line {it} {:x}\n", it * 7_919)).collect()
    }

    #[test]
    fn every_packing_is_known_by_its_bytes_and_unpacks_whole_also_in_several_members() {
        let text = lines(3_000);
        let (first, second) = text.split_at(text.len() / 3);
        for packing in ALL {
            let members = [pack(packing, first.as_bytes()), pack(packing, second.as_bytes())].concat();
            assert_eq!(Packing::of(&members), Some(packing));
            let (found, gap, result) = unpacked(&members, SpoolBounds::default());
            assert!(found == text, "{packing:?}: {} of {} bytes, {result:?}", found.len(), text.len());
            assert_eq!((gap, result), (None, Unpacked { read_bytes: text.len() as u64, broken: None }), "{packing:?}");
            let (found, _, result) = unpacked(&pack(packing, b""), SpoolBounds::default());
            assert_eq!((found.as_str(), result.broken), ("", None), "{packing:?} of nothing");
        }
        for text in ["", "BZh9 is a word", "2026-08-19 x", "P*M"] {
            assert_eq!(Packing::of(text.as_bytes()), None);
        }
    }

    #[test]
    fn a_stream_is_unpacked_by_its_first_bytes_and_is_else_what_it_was() {
        let text = lines(100);
        for packing in ALL {
            let packed = pack(packing, text.as_bytes());
            let (mut stream, is_packed) = unpacking(packed.as_slice()).unwrap();
            let mut found = String::new();
            stream.read_to_string(&mut found).unwrap();
            assert!(is_packed && found == text, "{packing:?}");
            let (mut stream, _) = unpacking(&packed[..packed.len() - 6]).unwrap();
            assert_eq!(damage(&stream.read_to_end(&mut Vec::new()).unwrap_err()), "it ends in the middle");
        }
        for text in ["", "P", "P*M", "BZh9 is a word", "BZh", "(x", "\u{1f}", "a\n"] {
            let (mut stream, is_packed) = unpacking(text.as_bytes()).unwrap();
            let mut found = String::new();
            stream.read_to_string(&mut found).unwrap();
            assert_eq!((found.as_str(), is_packed), (text, false));
        }
    }

    #[test]
    fn what_comes_before_the_damage_is_kept_and_the_damage_is_said() {
        let text = lines(40_000);
        for packing in ALL {
            let packed = pack(packing, text.as_bytes());
            let (found, _, result) = unpacked(&packed[..packed.len() * 2 / 3], SpoolBounds::default());
            assert!(text.starts_with(&found) && found.len() > text.len() / 4, "{packing:?}: {}", found.len());
            assert_eq!(result.broken.as_deref(), Some("it ends in the middle"), "{packing:?}");
            assert_eq!(result.read_bytes, found.len() as u64);
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            for byte in &mut damaged[middle..middle + 64] {
                *byte = !*byte;
            }
            let (found, _, result) = unpacked(&damaged, SpoolBounds::default());
            assert!(result.broken.is_some(), "{packing:?} noticed nothing");
            let same = found.bytes().zip(text.bytes()).take_while(|(found, text)| found == text).count();
            assert!(same > text.len() / 8, "{packing:?}: {same}");
        }
    }

    #[test]
    fn what_fits_into_one_piece_is_not_lost_with_the_damage_behind_it() {
        let text = lines(400);
        assert!(text.len() < PIECE_BYTES);
        let packed = pack(Packing::Gzip, text.as_bytes());
        // The checksum and the length of the text are missing.
        let (found, _, result) = unpacked(&packed[..packed.len() - 8], SpoolBounds::default());
        assert_eq!((found.as_str(), result.read_bytes), (text.as_str(), text.len() as u64));
        assert_eq!(result.broken.as_deref(), Some("it ends in the middle"));
    }

    #[test]
    fn of_a_cut_xz_every_byte_before_the_cut_comes_out() {
        let text = lines(400);
        let packed = pack(Packing::Xz, text.as_bytes());
        // All of it is one chunk of LZMA2: a reader of whole chunks has nothing.
        for cut in [packed.len() / 2, packed.len() - 60] {
            let (found, _, result) = unpacked(&packed[..cut], SpoolBounds::default());
            let at_least = text.len() * cut / packed.len() * 9 / 10;
            assert!(text.starts_with(&found) && found.len() > at_least, "{cut} of {}: {}", packed.len(), found.len());
            assert_eq!(result.broken.as_deref(), Some("it ends in the middle"));
        }
    }

    #[test]
    fn a_bomb_is_bounded_by_the_spool_and_what_fell_out_is_counted() {
        let bounds = SpoolBounds { segment_bytes: 64 << 10, max_segments: 3 };
        let text = "0123456789abcde\n".repeat(1 << 18);
        let (found, gap, result) = unpacked(&pack(Packing::Gzip, text.as_bytes()), bounds);
        assert!(found.len() <= 3 * (64 << 10) && text.ends_with(&found), "{}", found.len());
        let dropped = (text.len() - found.len()) as u64 / 16;
        assert_eq!((gap, result.broken), (Some(GapKind::Dropped { lines: dropped }), None));
    }

    #[test]
    fn without_a_disk_it_is_kept_in_memory_which_is_said() {
        let source = Arc::new(Source::new(SourceId::new(&HostId::new("h"), "a"), "a", "a"));
        let nowhere = std::path::Path::new("/nonexistent");
        let mut spool = Spool::of_archive(source.clone(), nowhere, SpoolBounds::ARCHIVE, &Room::default());
        // Three segments in memory, each of several frames.
        let text = lines(200_000);
        let packed = pack(Packing::Zstd, text.as_bytes());
        let result = unpack(archive(&packed), Packing::Zstd, &mut spool, &mut || true);
        assert_eq!(result, Unpacked { read_bytes: text.len() as u64, broken: None });
        let parts = source.snapshot().parts;
        let found: Vec<u8> = parts.iter().flat_map(|it| it.segment.read(0, it.size_bytes).unwrap()).collect();
        assert!(found == text.as_bytes(), "{} of {} bytes", found.len(), text.len());
        let Some(GapKind::Failed(why)) = parts[0].gap.as_ref().map(|it| &it.kind) else { panic!("{:?}", parts[0].gap) };
        assert!(why.contains("/nonexistent"), "{why}");
        assert!(parts.iter().skip(1).all(|it| it.gap.is_none()), "said more than once");
        let taken: u64 = parts.iter().map(|it| it.segment.memory_bytes()).sum();
        assert!(taken < text.len() as u64 / 2, "{taken}");
    }

    #[test]
    fn utf16_inside_and_tar_inside_are_told_apart() {
        let wide: Vec<u8> = "\u{feff}one\nzwei ä\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(unpacked(&pack(Packing::Gzip, &wide), SpoolBounds::default()).0, "one\nzwei ä\n");
        let mut tar = vec![0; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        let (found, _, result) = unpacked(&pack(Packing::Gzip, &tar), SpoolBounds::default());
        assert!(found.is_empty() && result.broken.as_ref().is_some_and(|it| it.contains("tar")), "{result:?}");
    }

    #[test]
    fn jobs_that_panic_leave_the_workers_to_the_others() {
        let workers = Workers::default();
        let (done_tx, done_rx) = std::sync::mpsc::sync_channel(1);
        for _ in 0..2 * MAX_WORKERS {
            workers.start(|| panic!("a broken job"));
        }
        workers.start(move || done_tx.send(()).unwrap());
        done_rx.recv_timeout(std::time::Duration::from_secs(60)).expect("the next job is done");
    }

    #[test]
    fn many_jobs_are_done_by_few_threads() {
        let workers = Workers::default();
        let (done_tx, done_rx) = std::sync::mpsc::sync_channel(100);
        let busy = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for it in 0..50 {
            let (done_tx, busy) = (done_tx.clone(), busy.clone());
            workers.start(move || {
                let now = busy.fetch_add(1, std::sync::atomic::Ordering::AcqRel) + 1;
                std::thread::yield_now();
                busy.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
                done_tx.send((it, now)).unwrap();
            });
        }
        let mut done: Vec<(usize, usize)> =
            (0..50).map(|_| done_rx.recv_timeout(std::time::Duration::from_secs(60)).unwrap()).collect();
        assert!(done.iter().all(|(_, now)| *now <= MAX_WORKERS), "{done:?}");
        done.sort_unstable();
        assert!(done.iter().map(|it| it.0).eq(0..50));
    }
}
