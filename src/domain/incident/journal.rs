//! How entries stand in a journal file: `crc32-hex SPACE json NEWLINE`, each naming the line before it.
//!
//! The check sum finds lines that were torn by a crash or damaged on disk; the hash of the previous line
//! makes later changes visible. A reader skips and counts what is not intact, and never fails.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::domain::incident::entry::Entry;

/// Longest line that is written or read. The longest note and pin fit with room for escapes.
pub const LINE_MAX_BYTES: usize = 1024 * 1024;

/// Writes an entry as a line, including the newline.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, String> {
    let json = serde_json::to_string(entry).map_err(|error| error.to_string())?;
    let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
    if line.len() > LINE_MAX_BYTES {
        return Err(format!(
            "the entry has {} bytes, more than the {LINE_MAX_BYTES} a journal line may have",
            line.len()
        ));
    }
    Ok(line.into_bytes())
}

/// Reads one line without its newline; `None` when it is not intact.
pub fn decode(line: &[u8]) -> Option<Entry> {
    if line.len() > LINE_MAX_BYTES {
        return None;
    }
    let (crc, json) = line.split_at_checked(8)?;
    let json = json.strip_prefix(b" ")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    if crc32fast::hash(json) != crc {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// Hex sha256 of some bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Reads a journal piece by piece, as its file grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalReader {
    /// Lines that were not intact.
    pub damaged_lines: u32,
    /// Intact lines that name another predecessor than the intact line before them.
    pub broken_links: u32,
    // Hash of the last intact line; what the next entry names as its predecessor.
    last_hash: String,
    // Bytes after the last newline: a line that is being written, or one that was torn.
    tail: Vec<u8>,
    // The tail outgrew every possible line: its bytes are not kept, it will be one damaged line.
    overlong: bool,
}

impl JournalReader {
    /// Takes the next bytes of the file and returns the entries whose lines they complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (piece, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.tail.is_empty() && !self.overlong {
                entries.extend(self.line(piece));
            } else {
                self.keep(piece);
                let line = std::mem::take(&mut self.tail);
                if std::mem::take(&mut self.overlong) {
                    self.damaged_lines = self.damaged_lines.saturating_add(1);
                } else {
                    entries.extend(self.line(&line));
                }
            }
        }
        self.keep(bytes);
        entries
    }

    /// What the next entry of this file names as its predecessor.
    pub fn last_hash(&self) -> &str {
        &self.last_hash
    }

    /// True when the bytes so far end within a line; the next writer begins with a newline then.
    pub fn has_tail(&self) -> bool {
        !self.tail.is_empty() || self.overlong
    }

    /// Ends the reading of a file that nobody writes: a last line without its newline counts like any other.
    pub fn finish(&mut self) -> Option<Entry> {
        if !self.has_tail() {
            return None;
        }
        self.feed(b"\n").pop()
    }

    /// Lines not intact so far, with the tail if that is not a whole line.
    pub fn damaged_with_tail(&self) -> u32 {
        let torn = self.overlong || (!self.tail.is_empty() && decode(&self.tail).is_none());
        self.damaged_lines.saturating_add(u32::from(torn))
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.tail.len() + bytes.len() > LINE_MAX_BYTES {
            self.overlong = true;
        }
        if self.overlong {
            self.tail = Vec::new();
        } else {
            self.tail.extend_from_slice(bytes);
        }
    }

    fn line(&mut self, line: &[u8]) -> Option<Entry> {
        // A writer that found a torn tail begins with a newline; so does one that only feared it.
        if line.is_empty() {
            return None;
        }
        let Some(entry) = decode(line) else {
            self.damaged_lines = self.damaged_lines.saturating_add(1);
            return None;
        };
        if entry.prev != self.last_hash {
            self.broken_links = self.broken_links.saturating_add(1);
        }
        self.last_hash = sha256_hex(line);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::incident::entry::tests::entry;
    use crate::domain::incident::entry::{EntryBody, Note};

    fn note(second: i64, text: &str, prev: &str) -> Entry {
        let mut entry = entry(second, EntryBody::Note(Note::new(text)));
        entry.prev = prev.to_string();
        entry
    }

    /// A file of chained notes and its lines.
    fn file(count: i64) -> Vec<Vec<u8>> {
        let mut prev = String::new();
        let mut lines = Vec::new();
        for second in 0..count {
            let line = encode(&note(second, &format!("note {second}"), &prev)).unwrap();
            prev = sha256_hex(&line[..line.len() - 1]);
            lines.push(line);
        }
        lines
    }

    fn read(bytes: &[u8]) -> (JournalReader, Vec<Entry>) {
        let mut reader = JournalReader::default();
        let mut entries = reader.feed(bytes);
        entries.extend(reader.finish());
        (reader, entries)
    }

    #[test]
    fn a_chain_reads_back_whole() {
        let (reader, entries) = read(&file(5).concat());
        assert_eq!((entries.len(), reader.damaged_lines, reader.broken_links), (5, 0, 0));
    }

    #[test]
    fn a_changed_byte_costs_one_line_and_is_counted() {
        let mut lines = file(3);
        let at = lines[1].len() - 10;
        lines[1][at] ^= 1;
        let (reader, entries) = read(&lines.concat());
        assert_eq!((entries.len(), reader.damaged_lines, reader.broken_links), (2, 1, 1));
    }

    #[test]
    fn a_line_rewritten_with_a_fresh_check_sum_breaks_the_chain() {
        let mut lines = file(3);
        let mut forged = decode(&lines[1][..lines[1].len() - 1]).unwrap();
        forged.body = EntryBody::Note(Note::new("forged"));
        lines[1] = encode(&forged).unwrap();
        let (reader, entries) = read(&lines.concat());
        assert_eq!((entries.len(), reader.damaged_lines, reader.broken_links), (3, 0, 1));
    }

    #[test]
    fn a_torn_tail_followed_by_a_newline_and_a_record_costs_only_itself() {
        let lines = file(2);
        let torn = &lines[1][..lines[1].len() / 2];
        let next = encode(&note(9, "after", &sha256_hex(&lines[0][..lines[0].len() - 1]))).unwrap();
        let bytes = [lines[0].as_slice(), torn, b"\n", &next].concat();
        let (reader, entries) = read(&bytes);
        assert_eq!((entries.len(), reader.damaged_lines, reader.broken_links), (2, 1, 0));
    }

    #[test]
    fn a_whole_last_line_without_its_newline_counts_as_whole() {
        let lines = file(2);
        let bytes = lines.concat();
        let (reader, entries) = read(&bytes[..bytes.len() - 1]);
        assert_eq!((entries.len(), reader.damaged_lines), (2, 0));
    }

    #[test]
    fn an_overlong_line_is_one_damaged_line_and_is_not_kept() {
        let mut reader = JournalReader::default();
        for _ in 0..3 {
            assert!(reader.feed(&vec![b'x'; LINE_MAX_BYTES]).is_empty());
        }
        assert!(reader.tail.is_empty());
        assert_eq!(reader.damaged_with_tail(), 1);
        let entries = reader.feed(&[b"\n".as_slice(), &file(1)[0]].concat());
        assert_eq!((entries.len(), reader.damaged_lines), (1, 1));
    }

    proptest! {
        #[test]
        fn intact_lines_survive_any_garbage_between_them(
            garbage in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8),
            cut in 1usize..40,
        ) {
            let lines = file(8);
            let mut bytes = Vec::new();
            for (index, line) in lines.iter().enumerate() {
                if let Some(garbage) = garbage.get(index) {
                    bytes.extend_from_slice(garbage);
                    bytes.push(b'\n');
                }
                bytes.extend_from_slice(line);
            }
            let mut reader = JournalReader::default();
            let mut entries = Vec::new();
            for piece in bytes.chunks(cut) {
                entries.extend(reader.feed(piece));
            }
            prop_assert_eq!(entries.len(), 8);
            prop_assert!(!reader.has_tail());
            prop_assert_eq!(reader.broken_links, 0);
        }

        #[test]
        fn reading_in_pieces_equals_reading_at_once(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
            let whole = read(&bytes);
            let mut reader = JournalReader::default();
            let mut entries = Vec::new();
            for piece in bytes.chunks(cut) {
                entries.extend(reader.feed(piece));
            }
            entries.extend(reader.finish());
            prop_assert_eq!(whole, (reader, entries));
        }
    }
}
