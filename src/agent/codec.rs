//! Frames to bytes and back: one line of JSON each, never longer than its bound.
//!
//! What comes from the other end is not trusted: a reader holds no more than one line and what came with it, and
//! every error says what came, made harmless and cut. JSON that is no frame we know is told apart from what is no
//! JSON at all: the first comes from a newer hotseat and is passed over, the second ends the connection.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::domain::sanitise;

/// Bytes read at a time: a screenful of log rows. Also what a reader keeps between lines.
const CHUNK_BYTES: usize = 16 << 10;
/// Lines longer than this are read and written on a thread of their own, so that nothing waits for them.
const LARGE_BYTES: usize = 256 << 10;
/// How much of a line an error quotes.
const QUOTE_MAX_CHARS: usize = 60;

/// What is wrong with what came, or with the way.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The line does not end where it must.
    #[error("a line of more than {max} bytes came: `{start}`")]
    TooLong {
        /// The bound.
        max: usize,
        /// How it begins.
        start: String,
    },
    /// Not text.
    #[error("what came is not UTF-8 from byte {at} on: `{start}`")]
    NotUtf8 {
        /// The first wrong byte of the line.
        at: usize,
        /// How the line begins.
        start: String,
    },
    /// Not a line of this protocol, of whatever version.
    #[error("what came is not JSON: {why}: `{start}`")]
    NotJson {
        /// What the parser says.
        why: String,
        /// How the line begins.
        start: String,
    },
    /// The end came before the end of the line.
    #[error("the connection ended in the middle of a line, after {bytes} bytes: `{start}`")]
    Torn {
        /// What came of the line.
        bytes: usize,
        /// How it begins.
        start: String,
    },
    /// Nothing came.
    #[error("nothing was heard for {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// Others kept their turns.
    #[error("too many long lines came at once: this one waited {:.1} s for its turn", .0.as_secs_f64())]
    Crowded(Duration),
    /// Nothing was taken.
    #[error("nothing was taken for {:.1} s", .0.as_secs_f64())]
    Stuck(Duration),
    /// What is to be said is too long.
    #[error("it takes {bytes} bytes, more than the {max} of a line")]
    TooMuch {
        /// How long it is.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The way failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub enum Decoded<T> {
    /// A frame.
    Frame(T),
    /// JSON that this version does not know.
    Unknown {
        /// What about it is not known, in words.
        what: String,
        /// The line.
        line: String,
    },
}

/// Reads lines of a stream.
pub struct FrameReader<R> {
    stream: R,
    /// What has been read and not been handed out.
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// No line feed stands before this, from `start` on.
    searched: usize,
    /// What one read brings.
    chunk: Box<[u8]>,
    /// Turns for lines of more than [`LARGE_BYTES`], and the one that this reader has.
    turns: Option<Arc<Semaphore>>,
    turn: Option<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from where the stream is.
    pub fn new(stream: R) -> Self {
        let chunk = vec![0; CHUNK_BYTES].into_boxed_slice();
        Self { stream, buffer: Vec::new(), start: 0, searched: 0, chunk, turns: None, turn: None }
    }

    /// As [`new`](Self::new), beside other readers: long lines wait for one of the `turns`, and keep it while they are
    /// read and understood. So many peers cannot make this process hold so many long lines.
    pub fn beside_others(stream: R, turns: Arc<Semaphore>) -> Self {
        Self { turns: Some(turns), ..Self::new(stream) }
    }

    /// Reads a line and what it says; `None` at the end of the stream. Empty lines are passed over.
    ///
    /// Can be given up and called again: nothing that came is lost.
    ///
    /// # Errors
    /// See [`FrameError`]. After one of them the stream cannot be read on.
    pub async fn frame<T>(&mut self, max: usize, silence: Duration) -> Result<Option<Decoded<T>>, FrameError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        loop {
            let Some(line) = self.line(max, silence).await? else { return Ok(None) };
            if line.is_empty() {
                continue;
            }
            if line.len() < LARGE_BYTES {
                return decode(line).map(Some);
            }
            let line = line.to_vec();
            return aside(move || decode(&line)).await?.map(Some);
        }
    }

    /// Reads a line without its end; `silence` is how long nothing may come, and how long a long line waits for its turn.
    async fn line(&mut self, max: usize, silence: Duration) -> Result<Option<&[u8]>, FrameError> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let (start, end) = (self.start, self.searched + length);
                self.start = end + 1;
                self.searched = end + 1;
                let line = &self.buffer[start..end];
                if line.len() > max {
                    return Err(FrameError::TooLong { max, start: quote(line) });
                }
                return Ok(Some(line.trim_ascii()));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            self.searched = self.buffer.len();
            self.buffer.shrink_to(self.buffer.len().max(CHUNK_BYTES));
            if self.buffer.len() > max {
                return Err(FrameError::TooLong { max, start: quote(&self.buffer) });
            }
            self.take_turn(silence).await?;
            // One byte more than the bound is enough to see that it is passed.
            let room = CHUNK_BYTES.min(max + 1 - self.buffer.len());
            let read = timeout(silence, self.stream.read(&mut self.chunk[..room])).await;
            let count = read.map_err(|_| FrameError::Silent(silence))??;
            if count == 0 {
                let rest = self.buffer.trim_ascii();
                if rest.is_empty() {
                    return Ok(None);
                }
                return Err(FrameError::Torn { bytes: rest.len(), start: quote(rest) });
            }
            self.buffer.extend_from_slice(&self.chunk[..count]);
        }
    }
}

impl<R> FrameReader<R> {
    /// Takes a turn for a line that has become long, or gives it back.
    async fn take_turn(&mut self, patience: Duration) -> Result<(), FrameError> {
        if self.buffer.len() < LARGE_BYTES {
            self.turn = None;
        } else if let (None, Some(turns)) = (&self.turn, &self.turns) {
            let turn = timeout(patience, Arc::clone(turns).acquire_owned()).await;
            // They are never closed.
            self.turn = turn.map_err(|_| FrameError::Crowded(patience))?.ok();
        }
        Ok(())
    }
}

/// Says what a line says.
///
/// # Errors
/// When it is not UTF-8 or not JSON.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<Decoded<T>, FrameError> {
    let text = std::str::from_utf8(line)
        .map_err(|error| FrameError::NotUtf8 { at: error.valid_up_to(), start: quote(line) })?;
    let not_json = |error: serde_json::Error| FrameError::NotJson { why: brief(&error), start: quote(line) };
    match serde_json::from_str(text) {
        Ok(frame) => Ok(Decoded::Frame(frame)),
        // It stops at the first thing that it does not know; the rest may be anything.
        Err(error) if error.is_data() => {
            serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
            Ok(Decoded::Unknown { what: brief(&error), line: text.to_string() })
        }
        Err(error) => Err(not_json(error)),
    }
}

/// Writes a frame as a line with its end.
///
/// # Errors
/// When it is longer than `max`, or cannot be said in JSON.
pub fn encode<T: Serialize>(frame: &T, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut line = serde_json::to_vec(frame).map_err(io::Error::from)?;
    if line.len() > max {
        return Err(FrameError::TooMuch { bytes: line.len(), max });
    }
    line.push(b'\n');
    Ok(line)
}

/// Runs work that takes a while on a thread of its own.
///
/// # Errors
/// When the work panicked or everything ends.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Writes everything; `stuck` is how long the other end may take nothing.
///
/// # Errors
/// When it takes nothing, or is gone.
pub async fn write<W: AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8], stuck: Duration) -> Result<(), FrameError> {
    async fn within<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> Result<T, FrameError> {
        Ok(timeout(limit, step).await.map_err(|_| FrameError::Stuck(limit))??)
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match within(stuck, stream.write(rest)).await? {
            0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            count => rest = &rest[count..],
        }
    }
    within(stuck, stream.flush()).await
}

/// Text of the other end as it may be shown: harmless, one line, cut.
pub fn words(text: &str, max_chars: usize) -> String {
    let clean = sanitise::text(text);
    match clean.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// How a line begins.
fn quote(line: &[u8]) -> String {
    // A character has four bytes at most.
    words(&String::from_utf8_lossy(&line[..line.len().min(4 * QUOTE_MAX_CHARS)]), QUOTE_MAX_CHARS)
}

/// What a parser says without what it would rather have seen.
fn brief(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.find(", expected").or_else(|| text.find(" at line ")).unwrap_or(text.len());
    words(&text[..end], 2 * QUOTE_MAX_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::{SILENCE_MAX, ToAgent, ToScreen};

    const MAX: usize = 64;

    async fn read(bytes: &[u8]) -> Vec<Result<Decoded<ToScreen>, String>> {
        let mut reader = FrameReader::new(bytes);
        let mut found = Vec::new();
        loop {
            match reader.frame(MAX, SILENCE_MAX).await {
                Ok(Some(decoded)) => found.push(Ok(decoded)),
                Ok(None) => return found,
                Err(error) => {
                    found.push(Err(error.to_string()));
                    return found;
                }
            }
        }
    }

    async fn refused(bytes: &[u8]) -> String {
        read(bytes).await.pop().and_then(Result::err).unwrap_or_else(|| panic!("`{}` passed", bytes.escape_ascii()))
    }

    #[tokio::test]
    async fn lines_are_frames_and_empty_ones_are_nothing() {
        let bye = || Ok(Decoded::Frame(ToScreen::Bye("x".into())));
        assert_eq!(read(b"\"alive\"\r\n\n  \n{\"bye\":\"x\"}\n").await, [Ok(Decoded::Frame(ToScreen::Alive)), bye()]);
        let longest = format!("{{\"bye\":\"x\"{}}}", " ".repeat(MAX - 11));
        assert_eq!(read(format!("{longest}\n{longest}\n").as_bytes()).await, [bye(), bye()]);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_named_with_what_came() {
        let long = format!("\"alive\"\n{}", "x".repeat(1_000));
        let start = "x".repeat(QUOTE_MAX_CHARS);
        assert_eq!(refused(long.as_bytes()).await, format!("a line of more than {MAX} bytes came: `{start}…`"));
        assert_eq!(refused(b"\"ali").await, "the connection ended in the middle of a line, after 4 bytes: `\"ali`");
        assert_eq!(refused(b"\"a\xff\"\n").await, "what came is not UTF-8 from byte 2 on: `\"a\u{fffd}\"`");
        let garbage = refused(b"\x1b]0;owned\x07GET / HTTP/1.1\r\n").await;
        assert_eq!(garbage, "what came is not JSON: expected value: `GET / HTTP/1.1`");
        assert!(refused(b"{\"bye\":\"x\"\n").await.starts_with("what came is not JSON: EOF while parsing an object"));
        // Known at the start, garbage at the end.
        assert!(refused(b"{\"later\":[1,}\n").await.starts_with("what came is not JSON: "));
        let deep = "[".repeat(MAX);
        assert!(refused(format!("{deep}\n").as_bytes()).await.starts_with("what came is not JSON: "));
    }

    #[tokio::test]
    async fn what_a_newer_one_says_is_passed_over() {
        let found = read(b"{\"later\":{\"a\":1}}\n{\"bye\":7}\n\"alive\"\n").await;
        let whats: Vec<_> = found
            .iter()
            .map(|it| match it {
                Ok(Decoded::Unknown { what, .. }) => what.as_str(),
                Ok(Decoded::Frame(_)) => "frame",
                Err(error) => panic!("{error}"),
            })
            .collect();
        assert_eq!(whats, ["unknown variant `later`", "invalid type: integer `7`", "frame"]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_byte() {
        let (ours, mut theirs) = tokio::io::duplex(MAX);
        let mut reader = FrameReader::new(ours);
        let writing = tokio::spawn(async move {
            for byte in b"\"alive\"\n" {
                theirs.write_all(&[*byte]).await.expect("written");
                tokio::time::sleep(SILENCE_MAX / 2).await;
            }
            tokio::time::sleep(SILENCE_MAX).await;
        });
        let slow = reader.frame::<ToAgent>(MAX, SILENCE_MAX).await.expect("slow, but alive");
        assert_eq!(slow, Some(Decoded::Frame(ToAgent::Alive)));
        let silent = reader.frame::<ToAgent>(MAX, SILENCE_MAX).await.expect_err("nothing comes");
        assert_eq!(silent.to_string(), "nothing was heard for 2.5 s");
        writing.await.expect("the writer");
    }

    #[tokio::test]
    async fn no_more_is_held_than_the_bound() {
        let mut reader = FrameReader::new(tokio::io::repeat(b'x'));
        let max = 3 * CHUNK_BYTES;
        assert!(matches!(reader.frame::<ToAgent>(max, SILENCE_MAX).await, Err(FrameError::TooLong { .. })));
        assert_eq!(reader.buffer.len(), max + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn long_lines_of_many_are_read_in_turn() {
        const LONG_MAX: usize = 4 * LARGE_BYTES;
        async fn read<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>) -> Result<usize, String> {
            match reader.frame::<ToScreen>(LONG_MAX, SILENCE_MAX).await {
                Ok(Some(Decoded::Frame(ToScreen::Bye(it)))) => Ok(it.len()),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            }
        }
        let turns = Arc::new(Semaphore::new(1));
        let line = format!("{{\"bye\":\"{}\"}}\n", "x".repeat(2 * LARGE_BYTES));
        let (begun, end) = line.split_at(line.len() - 1);
        let (ours, mut theirs) = tokio::io::duplex(LONG_MAX);
        theirs.write_all(begun.as_bytes()).await.expect("room");
        let mut first = FrameReader::beside_others(ours, Arc::clone(&turns));
        assert_eq!(read(&mut first).await, Err("nothing was heard for 2.5 s".to_string()));
        let mut second = FrameReader::beside_others(line.as_bytes(), Arc::clone(&turns));
        let crowded = "too many long lines came at once: this one waited 2.5 s for its turn";
        assert_eq!(read(&mut second).await, Err(crowded.to_string()));
        assert!(second.buffer.len() < LARGE_BYTES + CHUNK_BYTES, "no more of it is held meanwhile");
        let mut short = FrameReader::beside_others(&b"{\"bye\":\"x\"}\n"[..], Arc::clone(&turns));
        assert_eq!(read(&mut short).await, Ok(1), "short ones wait for nobody");

        theirs.write_all(end.as_bytes()).await.expect("room");
        assert_eq!(read(&mut first).await, Ok(2 * LARGE_BYTES));
        // It has its turn until it reads on.
        assert_eq!(read(&mut first).await, Err("nothing was heard for 2.5 s".to_string()));
        assert_eq!(read(&mut second).await, Ok(2 * LARGE_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_stuck() {
        let (mut ours, _theirs) = tokio::io::duplex(MAX);
        let stuck = write(&mut ours, &[b'x'; 2 * MAX], SILENCE_MAX).await.expect_err("nobody reads");
        assert_eq!(stuck.to_string(), "nothing was taken for 2.5 s");
        assert!(matches!(encode(&"x".repeat(MAX), MAX), Err(FrameError::TooMuch { bytes: 66, max: MAX })));
    }
}
