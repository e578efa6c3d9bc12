//! Keeps the last records of what is printed until it is known that they are the last.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::rc::Rc;

/// Records that are kept so; more are looked for in the spool, as far as that goes.
pub const MAX_RECORDS: usize = 10_000;
/// Bytes of them: as much as a stream's spool takes of memory where there is no disk, several times over.
const MAX_BYTES: usize = 64 << 20;

/// The last records.
pub struct Newest {
    wanted: usize,
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    begins: Rc<Cell<bool>>,
    /// Fewer are kept than were wanted: they take too much memory.
    pub is_short: bool,
}

impl Newest {
    /// Keeps so many.
    pub fn new(wanted: usize) -> Self {
        Self { wanted, records: VecDeque::new(), bytes: 0, begins: Rc::default(), is_short: false }
    }

    /// Set before the first byte of a record is written.
    pub fn begins(&self) -> Rc<Cell<bool>> {
        self.begins.clone()
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Writes them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        for record in &self.records {
            out.write_all(record)?;
        }
        out.flush()
    }

    fn begin(&mut self) {
        let mut buffer = Vec::new();
        while self.records.len() >= self.wanted.max(1) || (self.bytes > MAX_BYTES && !self.records.is_empty()) {
            self.is_short |= self.records.len() < self.wanted;
            if let Some(oldest) = self.records.pop_front() {
                self.bytes -= oldest.len();
                buffer = oldest;
            }
        }
        buffer.clear();
        self.records.push_back(buffer);
    }
}

impl Write for Newest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begins.take() || self.records.is_empty() {
            self.begin();
        }
        if let Some(newest) = self.records.back_mut() {
            newest.extend_from_slice(bytes);
            self.bytes += bytes.len();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(wanted: usize, records: &[&[&str]]) -> (String, bool) {
        let mut newest = Newest::new(wanted);
        let begins = newest.begins();
        for record in records {
            begins.set(true);
            for piece in *record {
                newest.write_all(piece.as_bytes()).unwrap();
            }
        }
        let mut out = Vec::new();
        newest.write_to(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), newest.is_short)
    }

    #[test]
    fn the_last_records_are_kept_whole() {
        let records: [&[&str]; 4] = [&["a\n"], &["b", "b\n"], &["c\n"], &["d\n", "  d\n"]];
        assert_eq!(kept(2, &records), ("c\nd\n  d\n".into(), false));
        assert_eq!(kept(9, &records), ("a\nbb\nc\nd\n  d\n".into(), false));
        assert_eq!(kept(2, &[]), (String::new(), false));
    }

    #[test]
    fn what_takes_too_much_memory_is_let_go_and_told() {
        let big = "x".repeat(MAX_BYTES / 2);
        let (text, is_short) = kept(9, &[&["a"], &[&big], &[&big], &["b"]]);
        assert!(is_short && text.len() == MAX_BYTES + 1 && text.ends_with('b'), "{}", text.len());
    }
}
