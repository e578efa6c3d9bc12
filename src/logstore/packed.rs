//! Text kept in memory, most of it compressed: where a stream and an archive go when there is no disk for them.
//!
//! Logs shrink to a tenth, so the memory that a host in trouble can spare holds ten times as much. Frames are small
//! enough that reading anywhere costs a fraction of a millisecond.

use std::sync::Arc;

/// Bytes of text in one frame.
const FRAME_BYTES: usize = 256 << 10;
/// The fastest usual level: a core packs hundreds of megabytes a second.
const LEVEL: i32 = 1;

/// Text that grows at its end and is read anywhere.
#[derive(Debug, Default)]
pub struct PackedText {
    /// Full frames, oldest first.
    frames: Vec<Frame>,
    /// What has not filled a frame yet.
    tail: Vec<u8>,
    /// The frame that was read last, and its text: pages are read one after the other.
    unpacked: Option<(usize, Arc<Vec<u8>>)>,
}

#[derive(Debug)]
enum Frame {
    Packed(Vec<u8>),
    /// What does not get smaller stays as it is.
    Plain(Arc<Vec<u8>>),
}

impl PackedText {
    /// Appends text.
    pub fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(FRAME_BYTES - self.tail.len()));
            self.tail.extend_from_slice(piece);
            if self.tail.len() == FRAME_BYTES {
                let text = std::mem::take(&mut self.tail);
                self.frames.push(Frame::of(text));
            }
            bytes = rest;
        }
    }

    /// Memory that it takes.
    pub fn memory_bytes(&self) -> u64 {
        let frames: usize = self.frames.iter().map(Frame::size_bytes).sum();
        (frames + self.tail.capacity()) as u64
    }

    /// Fills a buffer from an offset on; returns how much there was.
    pub fn read(&mut self, buffer: &mut [u8], start: u64) -> usize {
        let mut at = usize::try_from(start).unwrap_or(usize::MAX);
        let mut filled = 0;
        while filled < buffer.len() {
            let (index, offset) = (at / FRAME_BYTES, at % FRAME_BYTES);
            let copied = match index < self.frames.len() {
                true => copy(&self.frame(index), offset, &mut buffer[filled..]),
                false if index == self.frames.len() => copy(&self.tail, offset, &mut buffer[filled..]),
                false => 0,
            };
            if copied == 0 {
                break;
            }
            filled += copied;
            at += copied;
        }
        filled
    }

    fn frame(&mut self, index: usize) -> Arc<Vec<u8>> {
        if let Some((known, text)) = &self.unpacked
            && *known == index
        {
            return text.clone();
        }
        let text = self.frames[index].text();
        self.unpacked = Some((index, text.clone()));
        text
    }
}

impl Frame {
    fn of(text: Vec<u8>) -> Self {
        match zstd::bulk::compress(&text, LEVEL) {
            Ok(mut packed) if packed.len() < text.len() => {
                packed.shrink_to_fit();
                Self::Packed(packed)
            }
            _ => Self::Plain(Arc::new(text)),
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.capacity(),
            Self::Plain(bytes) => bytes.len(),
        }
    }

    fn text(&self) -> Arc<Vec<u8>> {
        match self {
            // What was packed here comes out again; were it not so, its place would be read as empty.
            Self::Packed(bytes) => Arc::new(zstd::bulk::decompress(bytes, FRAME_BYTES).unwrap_or_default()),
            Self::Plain(bytes) => bytes.clone(),
        }
    }
}

fn copy(text: &[u8], offset: usize, buffer: &mut [u8]) -> usize {
    let text = text.get(offset..).unwrap_or_default();
    let count = text.len().min(buffer.len());
    buffer[..count].copy_from_slice(&text[..count]);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) -> u64 {
        let mut packed = PackedText::default();
        for piece in text.chunks(70_001) {
            packed.append(piece);
        }
        for (start, length) in [(0, text.len()), (1, 10), (FRAME_BYTES - 3, 7), (2 * FRAME_BYTES + 5, FRAME_BYTES)] {
            let end = (start + length).min(text.len());
            let mut buffer = vec![0; length];
            let filled = packed.read(&mut buffer, start as u64);
            assert!(buffer[..filled] == text[start.min(end)..end], "{start} {length}: {filled}");
        }
        let mut nothing = [0; 8];
        assert_eq!(packed.read(&mut nothing, text.len() as u64), 0);
        assert_eq!(packed.read(&mut nothing, u64::MAX), 0);
        packed.memory_bytes()
    }

    #[test]
    fn text_is_read_anywhere_and_takes_a_fraction_of_its_size() {
        let text: String = (0..30_000).map(|it| format!("2026-08-19T00:00:00Z INFO request {it} served\n")).collect();
        let taken = check(text.as_bytes());
        assert!(taken < text.len() as u64 / 3, "{taken} of {}", text.len());
    }

    #[test]
    fn noise_is_kept_as_it_is() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(FRAME_BYTES * 3 + 17)
        .collect();
        let taken = check(&noise);
        assert!(taken <= noise.len() as u64 + FRAME_BYTES as u64, "{taken}");
    }
}
