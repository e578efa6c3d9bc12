//! Frames of the WebSocket protocol (RFC 6455, section 5): as much as a question and its answer need.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::domain::probe::outcome::Cause;
use crate::service::probe::net::{Verdict, fail};

/// Bytes of one message that are read.
const MESSAGE_MAX: usize = 64 << 10;
/// Frames of other kinds that are passed over before a message: pings, mostly.
const OTHERS_MAX: usize = 64;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with a message.
    Continuation = 0,
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// A question whether we are there.
    Ping = 9,
    /// The answer to that.
    Pong = 10,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|it| *it as u8 == bits)
    }
}

/// Makes a whole frame as a client sends it: masked.
pub fn encode(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode as u8];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Reads one message, answering pings on the way.
///
/// # Errors
/// When the server ends the connection or breaks the protocol.
pub async fn message(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mask: impl Fn() -> [u8; 4],
) -> Result<String, Verdict> {
    let mut whole: Vec<u8> = Vec::new();
    let mut others = 0;
    loop {
        let (is_last, opcode, payload) = frame(stream, MESSAGE_MAX - whole.len()).await?;
        match opcode {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                whole.extend(payload);
                if is_last {
                    return Ok(String::from_utf8_lossy(&whole).into_owned());
                }
            }
            Opcode::Close => {
                let code = payload.get(..2).map_or(1005, |it| u16::from_be_bytes([it[0], it[1]]));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                let text = format!("the server closed the websocket with {code} {reason}");
                return Err(fail(Cause::Body, &format!("closed {code}"), text.trim_end()));
            }
            Opcode::Ping => {
                let pong = encode(Opcode::Pong, &payload, mask());
                stream.write_all(&pong).await.map_err(|it| broken(&it))?;
                stream.flush().await.map_err(|it| broken(&it))?;
            }
            Opcode::Pong => {}
        }
        others += 1;
        if others > OTHERS_MAX {
            return Err(protocol("frames come, but no message"));
        }
    }
}

/// Reads one frame: whether it is the last of its message, what it is, what it holds.
async fn frame(stream: &mut (impl AsyncRead + Unpin), room: usize) -> Result<(bool, Opcode, Vec<u8>), Verdict> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.map_err(|it| broken(&it))?;
    let opcode = Opcode::of(head[0] & 0x0f).filter(|_| head[0] & 0x70 == 0);
    let opcode = opcode.ok_or_else(|| protocol("a frame of a kind that nobody asked for"))?;
    if head[1] & 0x80 != 0 {
        return Err(protocol("a masked frame, which only clients send"));
    }
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).await.map_err(|it| broken(&it))?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).await.map_err(|it| broken(&it))?;
            u64::from_be_bytes(length)
        }
        length => u64::from(length),
    };
    let length = usize::try_from(length).ok().filter(|it| *it <= room);
    let length = length.ok_or_else(|| protocol("a message of more than 64 KiB"))?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.map_err(|it| broken(&it))?;
    Ok((head[0] & 0x80 != 0, opcode, payload))
}

fn broken(error: &std::io::Error) -> Verdict {
    fail(Cause::Reset, "reset", format!("the server hung up the websocket: {error}"))
}

fn protocol(what: &str) -> Verdict {
    fail(Cause::Protocol, "protocol", format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<String, String> {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(bytes).await.expect("written");
        theirs.shutdown().await.expect("closed");
        message(&mut ours, || [0; 4]).await.map_err(|(_, trouble)| trouble.brief)
    }

    #[tokio::test]
    async fn frames_are_those_of_the_standard() {
        // The examples of RFC 6455, 5.7.
        assert_eq!(
            encode(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
        );
        assert_eq!(read(b"\x81\x05Hello").await, Ok("Hello".into()));
        assert_eq!(read(b"\x01\x03Hel\x80\x02lo").await, Ok("Hello".into()));
        assert_eq!(read(b"\x89\x05Hello\x81\x02ok").await, Ok("ok".into()), "a ping between is answered");
        let long = [&b"\x82\x7e\x01\x00"[..], &[b'x'; 256]].concat();
        assert_eq!(read(&long).await.map(|it| it.len()), Ok(256));
    }

    #[tokio::test]
    async fn what_breaks_the_protocol_is_told() {
        for (bytes, wanted) in [
            (&b"\x88\x02\x03\xf3"[..], "closed 1011"),
            (b"\x81\x85\x00\x00\x00\x00Hello", "protocol"),
            (b"\x83\x00", "protocol"),
            (b"\x82\x7f\x00\x00\x00\x00\xff\xff\xff\xff", "protocol"),
            (b"\x81\x05Hel", "reset"),
        ] {
            assert_eq!(read(bytes).await, Err(wanted.into()), "{bytes:?}");
        }
    }
}
