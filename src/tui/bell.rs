//! Rings: the bell, and a desktop notification by OSC 9 (iTerm2, WezTerm, Ghostty, kitty, Windows Terminal).
//!
//! tmux swallows OSC 9 unless it is wrapped, and passes a wrapped one on where its option `allow-passthrough` is on;
//! screen swallows it. Both pass the bell on, so the bell is the one to rely on.

use crate::domain::alert::Ring;
use crate::domain::sanitise;

/// Characters of a notification, whatever the fact says: desktops show two lines.
const TEXT_MAX: usize = 200;

/// The bytes that make a terminal ring, tmux between us and it or not.
pub fn bytes(ring: &Ring, in_tmux: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if ring.notification {
        // Cleaned here as well: a control character would end the sequence and begin another. The word in
        // front keeps `4;1;50`, which is a progress bar to some terminals, from being one.
        let text: String = sanitise::text(&ring.text).chars().filter(|it| !it.is_control()).take(TEXT_MAX).collect();
        let sequence = format!("\x1b]9;hotseat: {text}\x1b\\");
        if in_tmux {
            // Inside the wrapping each escape stands twice.
            let doubled = sequence.replace('\x1b', "\x1b\x1b");
            bytes.extend_from_slice(format!("\x1bPtmux;{doubled}\x1b\\").as_bytes());
        } else {
            bytes.extend_from_slice(sequence.as_bytes());
        }
    }
    if ring.bell {
        bytes.push(0x07);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_text_stays_inside_its_sequence() {
        let ring =
            Ring { text: "api\u{7}\u{1b}]52;c;eA==\u{7}\u{9c} DOWN\n日本".into(), bell: true, notification: true };
        let wrapped = bytes(&ring, true);
        let bytes = bytes(&ring, false);
        let inner = &bytes[2..bytes.len() - 3];
        assert!(bytes.starts_with(b"\x1b]9;hotseat: api") && bytes.ends_with("日本\x1b\\\x07".as_bytes()));
        // tmux takes what stands between its own beginning and end, with each escape once.
        let passed = &wrapped[b"\x1bPtmux;".len()..wrapped.len() - b"\x1b\\\x07".len()];
        assert!(wrapped.starts_with(b"\x1bPtmux;\x1b\x1b]9;hotseat: api") && wrapped.ends_with(b"\x1b\\\x07"));
        let passed = String::from_utf8_lossy(passed).replace("\x1b\x1b", "\x1b");
        assert_eq!(passed.as_bytes(), &bytes[..bytes.len() - 1]);
        assert!(String::from_utf8_lossy(inner).chars().all(|it| !it.is_control()), "{inner:?}");
    }

    #[test]
    fn the_bell_alone_is_one_byte() {
        assert_eq!(bytes(&Ring { text: "x".into(), bell: true, notification: false }, true), [7]);
    }
}
