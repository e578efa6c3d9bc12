//! What the container runtimes of Kubernetes put before each line of a container: `<time> stderr F message`.
//!
//! In files below `/var/log/containers` and `/var/log/pods`. The time is the record's, the stream a field, and the
//! tag (`F` for a whole line, `P` for a part of one) is nothing that a person reads.

/// The two streams, with the blanks around them.
const STREAMS: [&[u8]; 2] = [b" stdout ", b" stderr "];

/// The name of the stream, and where the message begins. `stamp_end` is where the line's timestamp ends.
pub fn head(line: &[u8], stamp_end: usize) -> Option<(&[u8], usize)> {
    let rest = line.get(stamp_end..).filter(|_| stamp_end > 0)?;
    let stream = *STREAMS.iter().find(|it| rest.starts_with(it))?;
    // More tags may follow behind a colon.
    let tag = &rest[stream.len()..];
    let length = tag.iter().position(|it| *it == b' ')?;
    let is_tag = matches!(tag[..length], [b'F' | b'P'] | [b'F' | b'P', b':', ..]);
    is_tag.then(|| (&stream[1..stream.len() - 1], stamp_end + stream.len() + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_stands_behind_the_stream_and_the_tag() {
        let check = |rest: &str, expected: Option<(&str, &str)>| {
            let line = format!("2026-08-19T06:30:01Z{rest}");
            let found = head(line.as_bytes(), 20);
            let found = found.map(|(stream, at)| (std::str::from_utf8(stream).unwrap(), &line[at..]));
            assert_eq!(found, expected, "{rest}");
        };
        check(" stderr F boom: x", Some(("stderr", "boom: x")));
        check(" stdout P half of a ", Some(("stdout", "half of a ")));
        check(" stdout F:x  indented", Some(("stdout", " indented")));
        check(" stdout F ", Some(("stdout", "")));
        check(" stdout is full", None);
        check(" stdout F", None);
        check(" stdin F x", None);
        assert_eq!(head(b" stdout F no time", 0), None);
    }
}
