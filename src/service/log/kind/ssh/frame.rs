//! Tells the words of our own script from the bytes of the log between them.

/// A mark begins with this byte, then the nonce.
const BEGIN: u8 = 0x1e;
/// A mark without its end after so many bytes is none.
const MARK_BYTES: usize = 256;

/// What comes over the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the log.
    Data(&'a [u8]),
    /// Words of the script.
    Mark(&'a str),
}

/// Takes the stream apart.
#[derive(Debug)]
pub struct Frame {
    begin: Vec<u8>,
    /// What may be the beginning of a mark.
    held: Vec<u8>,
}

impl Frame {
    /// Marks carry this nonce.
    pub fn new(nonce: &str) -> Self {
        let begin = [&[BEGIN], nonce.as_bytes(), b" "].concat();
        Self { begin, held: Vec::new() }
    }

    /// Takes a piece and hands over what is certain by now.
    pub fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(Piece<'_>)) {
        let joined;
        let mut rest = if self.held.is_empty() {
            bytes
        } else {
            joined = [self.held.as_slice(), bytes].concat();
            self.held.clear();
            joined.as_slice()
        };
        let mut from = 0;
        while let Some(at) = memchr::memchr(BEGIN, &rest[from..]).map(|it| it + from) {
            let after = &rest[at..];
            let could_be = after.iter().zip(&self.begin).all(|(left, right)| left == right);
            let end = memchr::memchr(b'\n', &after[..after.len().min(MARK_BYTES)]);
            if !could_be || (end.is_none() && after.len() >= MARK_BYTES) {
                from = at + 1;
                continue;
            }
            let Some(end) = end.filter(|it| *it >= self.begin.len()) else {
                if at > 0 {
                    take(Piece::Data(&rest[..at]));
                }
                self.held = after.to_vec();
                return;
            };
            if at > 0 {
                take(Piece::Data(&rest[..at]));
            }
            if let Ok(mark) = std::str::from_utf8(&after[self.begin.len()..end]) {
                take(Piece::Mark(mark));
            }
            rest = &after[end + 1..];
            from = 0;
        }
        if !rest.is_empty() {
            take(Piece::Data(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(pieces: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
        let mut frame = Frame::new("n0");
        let (mut data, mut marks) = (Vec::new(), Vec::new());
        for piece in pieces {
            frame.feed(piece, &mut |it| match it {
                Piece::Data(bytes) => data.extend_from_slice(bytes),
                Piece::Mark(mark) => marks.push(format!("{}@{}", mark, data.len())),
            });
        }
        (data, marks)
    }

    #[test]
    fn marks_are_found_in_their_place_and_nothing_else_is_one() {
        let check = |stream: &[u8], data: &[u8], marks: &[&str]| {
            assert_eq!(taken(&[stream]), (data.to_vec(), marks.iter().map(|it| (*it).to_string()).collect()));
        };
        check(b"one\n\x1en0 open 1 2\ntwo\n", b"one\ntwo\n", &["open 1 2@4"]);
        check(b"half\x1en0 a\n\x1en0 b\nx", b"halfx", &["a@4", "b@4"]);
        check(b"\x1en1 open\n\x1e\x1e\n", b"\x1en1 open\n\x1e\x1e\n", &[]);
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut_the_same_is_found(
            parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), any::<bool>()), 0..10),
            cuts in proptest::collection::vec(1usize..9, 1..60),
        ) {
            let mut stream = Vec::new();
            for (data, is_marked) in &parts {
                stream.extend_from_slice(data);
                stream.extend_from_slice(if *is_marked { b"\x1en0 mark\n" } else { b"\x1en" });
            }
            // So that nothing is held back at the end.
            stream.push(b'\n');
            let mut pieces: Vec<&[u8]> = Vec::new();
            let (mut rest, mut cuts) = (stream.as_slice(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(taken(&pieces), taken(&[&stream]));
        }
    }
}
