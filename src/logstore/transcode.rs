//! Turns UTF-16 with a byte order mark into UTF-8, piece by piece, and leaves other text as it is.

/// The byte order mark of UTF-8: bytes at a file's start that are no text.
pub const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The order of the bytes of UTF-16, when text begins with its mark.
pub fn utf16_of(beginning: &[u8]) -> Option<ByteOrder> {
    match beginning {
        [0xff, 0xfe, ..] => Some(ByteOrder::Little),
        [0xfe, 0xff, ..] => Some(ByteOrder::Big),
        _ => None,
    }
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
    /// The first byte or two of what may be a mark.
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
                if let Some(order) = utf16_of(&whole) {
                    let mut wide = Utf16::new(order);
                    wide.push(&whole[2..], buffer);
                    *self = Self::Wide(wide);
                } else if whole.len() < 3
                    && [UTF8_MARK, b"\xff\xfe", b"\xfe\xff"].iter().any(|it| it.starts_with(&whole))
                {
                    *self = Self::Beginning(whole);
                } else {
                    *self = Self::Plain;
                    *buffer = whole.strip_prefix(UTF8_MARK).map(<[u8]>::to_vec).unwrap_or(whole);
                }
            }
        }
        buffer
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
