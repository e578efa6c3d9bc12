//! Finds the first record behind a boundary, by looking back as far as the grouping rule does.
//!
//! The answer is the one that reading from the start of the segment would give; what is read for it is
//! mostly a few kilobytes around the boundary.

use std::io;
use std::ops::Range;

use crate::logstore::block::BLOCK_BYTES;
use crate::logstore::record::{GROUP_BYTES, GROUP_LINES, Grouping, LINE_BYTES, Reach};
use crate::logstore::segment::Segment;
use crate::logstore::shape::{LINES_BEFORE, SHAPE_BYTES, Shape};
use crate::logstore::stamp::{STAMP_BYTES, StampReader};

/// Bytes read around a boundary in one go.
pub(super) const MARGIN_BYTES: u64 = 4 * 1024;

/// A growing stretch of a segment around a boundary.
pub(super) struct Region<'a> {
    segment: &'a Segment,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Region<'a> {
    pub(super) fn new(segment: &'a Segment, size: u64, around: u64) -> Self {
        Self { segment, size, start: around, bytes: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Extends the stretch to hold `start..end`; returns false when the bytes are not there any more.
    fn cover(&mut self, start: u64, end: u64) -> io::Result<bool> {
        let end = end.min(self.size);
        // What lies behind the rest of a very long line is another place.
        if start > self.end() + BLOCK_BYTES {
            self.bytes.clear();
        }
        if self.bytes.is_empty() {
            self.start = start.saturating_sub(MARGIN_BYTES);
            self.bytes = self.segment.read(self.start, (end + MARGIN_BYTES).min(self.size))?;
        }
        if start < self.start {
            // At least doubling keeps the copying linear.
            let length = (self.bytes.len() as u64).max(self.start - start);
            let from = self.start.saturating_sub(length);
            let mut bytes = self.segment.read(from, self.start)?;
            bytes.append(&mut self.bytes);
            self.bytes = bytes;
            self.start = from;
        }
        if end > self.end() {
            let to = (end + self.bytes.len() as u64).min(self.size);
            let more = self.segment.read(self.end(), to)?;
            self.bytes.extend_from_slice(&more);
        }
        Ok(self.start <= start && end <= self.end())
    }

    fn slice(&self, start: u64, end: u64) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset.saturating_sub(self.start)).unwrap_or(0).min(self.bytes.len());
        &self.bytes[at(start)..at(end).max(at(start))]
    }

    /// The first line that starts at or after an offset, `None` when there is none.
    pub(super) fn line_start_from(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let end = self.line_end(offset - 1)?;
        Ok((end < self.size).then_some(end))
    }

    /// Behind the line end of the line around an offset; the size when there is none.
    ///
    /// Lines longer than the stretch are read through in pieces that are not kept.
    pub(super) fn line_end(&mut self, offset: u64) -> io::Result<u64> {
        self.cover(offset, offset + MARGIN_BYTES)?;
        if let Some(at) = memchr::memchr(b'\n', self.slice(offset, self.end())) {
            return Ok(offset + at as u64 + 1);
        }
        let (mut at, mut length) = (self.end(), BLOCK_BYTES);
        let mut end = None;
        while at < self.size && end.is_none() {
            // What was read through from elsewhere in the line is not read again; there it mostly ends.
            if let Some(known) = self.segment.unbroken_around(at) {
                (at, length) = (known.end, MARGIN_BYTES);
                continue;
            }
            let piece = self.segment.read(at, (at + length).min(self.size))?;
            if piece.is_empty() {
                break;
            }
            end = memchr::memchr(b'\n', &piece).map(|it| at + it as u64);
            at = end.unwrap_or(at + piece.len() as u64);
            length = BLOCK_BYTES;
        }
        self.segment.keep_unbroken(offset..at);
        Ok(end.map_or(self.size, |it| it + 1))
    }

    /// The start of the line that ends at `end` (behind its line end), or `None` when it is too long to matter.
    fn line_start_before(&mut self, end: u64) -> io::Result<Option<u64>> {
        let is_too_long = |it: Range<u64>| end - it.start > LINE_BYTES;
        if end > 1 && self.segment.unbroken_around(end - 2).is_some_and(is_too_long) {
            return Ok(None);
        }
        let mut reach = MARGIN_BYTES;
        loop {
            let from = end.saturating_sub(reach);
            if !self.cover(from, end)? {
                return Ok(None);
            }
            if let Some(at) = memchr::memrchr(b'\n', self.slice(from, end - 1)) {
                return Ok(Some(from + at as u64 + 1));
            }
            if from == 0 {
                return Ok(Some(0));
            }
            if reach > LINE_BYTES {
                self.segment.keep_unbroken(from..end - 1);
                return Ok(None);
            }
            reach = (reach * 4).min(LINE_BYTES + 1);
        }
    }

    fn has_stamp(&mut self, start: u64, reader: &mut StampReader) -> io::Result<bool> {
        self.cover(start, start + STAMP_BYTES as u64)?;
        let line = self.slice(start, start + STAMP_BYTES as u64);
        let line = &line[..memchr::memchr(b'\n', line).map_or(line.len(), |it| it + 1)];
        Ok(reader.has_stamp(line))
    }

    fn shape(&mut self, start: u64) -> io::Result<Shape> {
        self.cover(start, start + SHAPE_BYTES as u64)?;
        let line = self.slice(start, start + SHAPE_BYTES as u64);
        Ok(Shape::of(&line[..memchr::memchr(b'\n', line).map_or(line.len(), |it| it + 1)]))
    }

    /// The shapes of the lines before a line, the nearest one first.
    fn shapes_before(&mut self, start: u64) -> io::Result<[Shape; LINES_BEFORE]> {
        let mut shapes = [Shape::default(); LINES_BEFORE];
        let mut end = start;
        let floor = self.segment.break_before(start);
        for shape in &mut shapes {
            if end <= floor {
                break;
            }
            let Some(line) = self.line_start_before(end)? else { break };
            if end - line <= LINE_BYTES {
                *shape = self.shape(line)?;
            }
            end = line;
        }
        Ok(shapes)
    }

    fn shape_continues(&mut self, start: u64) -> io::Result<bool> {
        let shape = self.shape(start)?;
        let [before, before_that] = self.shapes_before(start)?;
        Ok(shape.continues(before, before_that))
    }

    /// The first record at or after a line start.
    pub(super) fn first_record_from(&mut self, start: u64, reader: &mut StampReader) -> io::Result<u64> {
        if self.has_stamp(start, reader)? || self.segment.is_break(start) {
            return Ok(start);
        }
        let (stamped, plain) = self.look_back(start, reader)?;
        let mut grouping = Grouping::after(stamped, plain, self.shapes_before(start)?);
        let mut at = start;
        while at < self.size {
            let end = self.line_end(at)?;
            let has_stamp = self.has_stamp(at, reader)?;
            let length = (end - at).min(STAMP_BYTES as u64);
            if self.segment.is_break(at) || grouping.begins(self.slice(at, at + length), has_stamp, at, end) {
                return Ok(at);
            }
            at = end;
        }
        Ok(self.size)
    }

    /// Finds the first line that the line at `start` may belong to, as going forward would have.
    fn look_back(&mut self, start: u64, reader: &mut StampReader) -> io::Result<(Option<Reach>, Option<Reach>)> {
        let stamped = self.stamped_before(start, reader)?;
        if stamped.is_some() || !self.shape_continues(start)? {
            return Ok((stamped, None));
        }
        let floor = self.segment.break_before(start);
        let mut end = start;
        let mut lines = 0;
        while end > floor && Reach::holds(end, lines + 1, start) {
            let Some(line) = self.line_start_before(end)? else {
                return Ok((None, Some(Reach { end, lines })));
            };
            if end - line > LINE_BYTES {
                return Ok((None, Some(Reach { end, lines })));
            }
            if self.segment.is_break(line) || !self.shape_continues(line)? {
                // That line may itself belong to a record with a timestamp further up; then it leads nothing.
                let swallowed = self.stamped_before(line, reader)?.is_some();
                return Ok((None, (!swallowed).then_some(Reach { end, lines })));
            }
            lines += 1;
            end = line;
        }
        Ok((None, None))
    }

    fn stamped_before(&mut self, start: u64, reader: &mut StampReader) -> io::Result<Option<Reach>> {
        let floor = self.segment.break_before(start);
        let mut end = start;
        let mut lines = 0;
        while end > floor && lines < GROUP_LINES && start - end <= GROUP_BYTES {
            let Some(line) = self.line_start_before(end)? else { return Ok(None) };
            if end - line > LINE_BYTES {
                return Ok(None);
            }
            if self.has_stamp(line, reader)? {
                return Ok(Some(Reach { end, lines }));
            }
            lines += 1;
            end = line;
        }
        Ok(None)
    }
}
