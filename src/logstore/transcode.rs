//! Turns UTF-16 into UTF-8, piece by piece, and leaves other text as it is.
//!
//! UTF-16 is told by its byte order mark, or by its first characters: a log begins with a time, a level or a name,
//! and of those every other byte is zero.

use std::io::{self, Read};

/// The byte order mark of UTF-8: bytes at a file's start that are no text.
pub const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes by which UTF-16 without a mark is told: four characters.
pub const SIGN_BYTES: usize = 8;

/// How UTF-16 begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide {
    /// The order of its bytes.
    pub order: ByteOrder,
    /// Bytes of its mark, 0 without one.
    pub mark_bytes: usize,
}

/// Says how text begins that is UTF-16.
pub fn utf16_of(beginning: &[u8]) -> Option<Wide> {
    match beginning {
        [0xff, 0xfe, ..] => Some(Wide { order: ByteOrder::Little, mark_bytes: 2 }),
        [0xfe, 0xff, ..] => Some(Wide { order: ByteOrder::Big, mark_bytes: 2 }),
        _ => {
            let order = order_of(beginning.get(..SIGN_BYTES)?)?;
            Some(Wide { order, mark_bytes: 0 })
        }
    }
}

/// The order of bytes of which every other one is zero, the rest printable ASCII.
fn order_of(bytes: &[u8]) -> Option<ByteOrder> {
    let fits = |zero: usize| {
        let is_fit = |(at, byte): (usize, &u8)| if at % 2 == zero { *byte == 0 } else { (0x20..0x7f).contains(byte) };
        bytes.iter().enumerate().all(is_fit)
    };
    match (fits(1), fits(0)) {
        (true, _) => Some(ByteOrder::Little),
        (_, true) => Some(ByteOrder::Big),
        _ => None,
    }
}

/// True when more bytes may show that this is the beginning of something that is no plain UTF-8.
fn is_open(beginning: &[u8]) -> bool {
    let is_mark = |mark: &[u8]| beginning.len() < mark.len() && mark.starts_with(beginning);
    is_mark(UTF8_MARK)
        || is_mark(b"\xff\xfe")
        || is_mark(b"\xfe\xff")
        || (beginning.len() < SIGN_BYTES && order_of(beginning).is_some())
}

/// Which byte of two comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The low one.
    Little,
    /// The high one.
    Big,
}

/// A stretch of UTF-16 that arrives in pieces.
#[derive(Debug)]
pub struct Utf16 {
    order: ByteOrder,
    /// A piece ended within a unit.
    odd: Option<u8>,
    /// A piece ended within a pair.
    high: Option<u16>,
}

impl Utf16 {
    /// Starts behind the mark, or anywhere between two characters.
    pub fn new(order: ByteOrder) -> Self {
        Self { order, odd: None, high: None }
    }

    /// Appends the text of the next bytes. What is no UTF-16 becomes U+FFFD.
    pub fn push(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        let mut bytes = bytes;
        if let (Some(first), Some((second, rest))) = (self.odd, bytes.split_first()) {
            self.odd = None;
            bytes = rest;
            self.unit([first, *second], text);
        }
        let mut units = bytes.chunks_exact(2);
        for unit in units.by_ref() {
            self.unit([unit[0], unit[1]], text);
        }
        if let [odd] = units.remainder() {
            self.odd = Some(*odd);
        }
    }

    /// Ends the text: half a character becomes U+FFFD.
    pub fn finish(&mut self, text: &mut Vec<u8>) {
        if self.high.take().is_some() | self.odd.take().is_some() {
            put(char::REPLACEMENT_CHARACTER, text);
        }
    }

    fn unit(&mut self, bytes: [u8; 2], text: &mut Vec<u8>) {
        let unit = match self.order {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        };
        if self.high.is_none()
            && let Ok(ascii) = u8::try_from(unit)
            && ascii.is_ascii()
        {
            return text.push(ascii);
        }
        let is_high = (0xd800..0xdc00).contains(&unit);
        match self.high.take() {
            None if is_high => self.high = Some(unit),
            None => put(char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER), text),
            Some(high) => match char::decode_utf16([high, unit]).next() {
                Some(Ok(it)) => put(it, text),
                _ => {
                    put(char::REPLACEMENT_CHARACTER, text);
                    self.unit(bytes, text);
                }
            },
        }
    }
}

fn put(it: char, text: &mut Vec<u8>) {
    text.extend_from_slice(it.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A stream whose first bytes say what it is.
#[derive(Debug, Default)]
pub enum TextStream {
    /// Nothing, or a part of a mark, has come.
    #[default]
    Empty,
    /// The first bytes, which do not tell yet.
    Beginning(Vec<u8>),
    /// Bytes that are taken as they are.
    Plain,
    /// UTF-16.
    Wide(Utf16),
}

impl TextStream {
    /// The text of the next bytes; `buffer` is memory for it.
    pub fn text<'a>(&mut self, bytes: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        buffer.clear();
        match self {
            Self::Plain => return bytes,
            Self::Wide(wide) => wide.push(bytes, buffer),
            Self::Empty | Self::Beginning(_) => {
                let mut whole = match std::mem::take(self) {
                    Self::Beginning(held) => held,
                    _ => Vec::new(),
                };
                whole.extend_from_slice(bytes);
                if let Some(Wide { order, mark_bytes }) = utf16_of(&whole) {
                    let mut wide = Utf16::new(order);
                    wide.push(&whole[mark_bytes..], buffer);
                    *self = Self::Wide(wide);
                } else if is_open(&whole) {
                    *self = Self::Beginning(whole);
                } else {
                    *self = Self::Plain;
                    *buffer = whole.strip_prefix(UTF8_MARK).map(<[u8]>::to_vec).unwrap_or(whole);
                }
            }
        }
        buffer
    }

    /// True when something was held back that a plain stream would have given.
    fn holds(&self) -> bool {
        matches!(self, Self::Beginning(_))
    }

    /// What was held back when the stream ended.
    pub fn finish(&mut self) -> Vec<u8> {
        match std::mem::replace(self, Self::Plain) {
            Self::Empty | Self::Plain => Vec::new(),
            Self::Beginning(held) => held,
            Self::Wide(mut wide) => {
                let mut text = Vec::new();
                wide.finish(&mut text);
                text
            }
        }
    }
}

/// A stream read as text.
pub struct TextReader<R> {
    inner: R,
    stream: TextStream,
    /// Text that was made and not taken yet, from `taken` on.
    text: Vec<u8>,
    taken: usize,
    is_over: bool,
}

impl<R: Read> TextReader<R> {
    /// Reads from the beginning of a stream.
    pub fn new(inner: R) -> Self {
        Self { inner, stream: TextStream::default(), text: Vec::new(), taken: 0, is_over: false }
    }
}

impl<R: Read> Read for TextReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = &self.text[self.taken..];
            if !left.is_empty() {
                let count = left.len().min(buffer.len());
                buffer[..count].copy_from_slice(&left[..count]);
                self.taken += count;
                return Ok(count);
            }
            if self.is_over || buffer.is_empty() {
                return Ok(0);
            }
            let count = match self.inner.read(buffer) {
                Ok(count) => count,
                // What was held back came before the damage.
                Err(error) if error.kind() != io::ErrorKind::Interrupted && self.stream.holds() => {
                    (self.text, self.taken) = (self.stream.finish(), 0);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if count == 0 {
                self.is_over = true;
                (self.text, self.taken) = (self.stream.finish(), 0);
                continue;
            }
            if matches!(self.stream, TextStream::Plain) {
                return Ok(count);
            }
            let mut text = std::mem::take(&mut self.text);
            self.stream.text(&buffer[..count], &mut text);
            (self.text, self.taken) = (text, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8], piece: usize) -> String {
        let mut stream = TextStream::default();
        let (mut text, mut buffer) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            text.extend_from_slice(stream.text(piece, &mut buffer));
        }
        text.extend(stream.finish());
        String::from_utf8(text).expect("UTF-8")
    }

    fn utf16(text: &str, order: ByteOrder) -> Vec<u8> {
        let bytes = |it: u16| if order == ByteOrder::Big { it.to_be_bytes() } else { it.to_le_bytes() };
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn pieces_of_any_length_make_the_same_text() {
        let text = "one\nзвездá 数据 🦀\r\n";
        for piece in [1, 2, 3, 5, 1000] {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                assert_eq!(whole(&utf16(text, order), piece), text, "{order:?} in pieces of {piece}");
            }
            assert_eq!(whole(format!("\u{feff}{text}").as_bytes(), piece), text, "UTF-8 with a mark");
            assert_eq!(whole(text.as_bytes(), piece), text, "UTF-8 without");
        }
        assert_eq!(whole(b"", 1), "");
        assert_eq!(whole(b"a", 1), "a");
    }

    #[test]
    fn without_a_mark_every_other_byte_tells() {
        let text = "2026 ж 数据 🦀\r\n";
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let bytes = &utf16(text, order)[2..];
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(whole(bytes, piece), text, "{order:?} in pieces of {piece}");
            }
            assert_eq!(utf16_of(bytes), Some(Wide { order, mark_bytes: 0 }));
        }
        // A hole, a binary, text with a zero in it.
        for bytes in [&b"\0\0\0\0\0\0\0\0one"[..], b"\x7fELF\x02\x01\x01\0", b"a\0b\0cd\0e", b"one two three"] {
            assert_eq!(utf16_of(bytes), None, "{bytes:?}");
            assert_eq!(whole(bytes, 1).as_bytes(), bytes);
        }
    }

    #[test]
    fn a_stream_is_read_as_its_text() {
        let text = "2026-11-23 ж\n".repeat(100);
        for bytes in [utf16(&text, ByteOrder::Big)[2..].to_vec(), utf16(&text, ByteOrder::Little), text.clone().into()]
        {
            for length in [1, 3, 4096] {
                let mut reader = TextReader::new(&bytes[..]);
                let (mut found, mut buffer) = (Vec::new(), vec![0; length]);
                while let Ok(count @ 1..) = reader.read(&mut buffer) {
                    found.extend_from_slice(&buffer[..count]);
                }
                assert_eq!(String::from_utf8_lossy(&found), text, "{length} at a time");
            }
        }
    }

    #[test]
    fn halves_of_pairs_are_replaced_and_cost_nothing_else() {
        let units = |units: &[u16]| -> Vec<u8> {
            std::iter::once(&0xfeff).chain(units).flat_map(|it| it.to_le_bytes()).collect()
        };
        assert_eq!(whole(&units(&[0xd83e, 0x61]), 3), "\u{fffd}a");
        assert_eq!(whole(&units(&[0xdd80, 0x61]), 3), "\u{fffd}a");
        assert_eq!(whole(&units(&[0x61, 0xd83e]), 3), "a\u{fffd}");
        assert_eq!(whole(&units(&[0xd83e, 0xd83e, 0xdd80]), 3), "\u{fffd}🦀");
    }
}
