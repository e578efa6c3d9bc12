//! Rings: the bell, and a desktop notification by OSC 9 (iTerm2, WezTerm, Ghostty, kitty, Windows Terminal).
//!
//! tmux and screen swallow OSC 9 by default and pass the bell on, so the bell is the one to rely on.

use crate::domain::alert::Ring;
use crate::domain::sanitise;

/// Characters of a notification, whatever the fact says: desktops show two lines.
const TEXT_MAX: usize = 200;

/// The bytes that make a terminal ring.
pub fn bytes(ring: &Ring) -> Vec<u8> {
    let mut bytes = Vec::new();
    if ring.notification {
        // Cleaned here as well: a control character would end the sequence and begin another. The word in
        // front keeps `4;1;50`, which is a progress bar to some terminals, from being one.
        let text: String = sanitise::text(&ring.text).chars().filter(|it| !it.is_control()).take(TEXT_MAX).collect();
        bytes.extend_from_slice(format!("\x1b]9;hotseat: {text}\x1b\\").as_bytes());
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
        let bytes = bytes(&ring);
        let inner = &bytes[2..bytes.len() - 3];
        assert!(bytes.starts_with(b"\x1b]9;hotseat: api") && bytes.ends_with("日本\x1b\\\x07".as_bytes()));
        assert!(String::from_utf8_lossy(inner).chars().all(|it| !it.is_control()), "{inner:?}");
    }

    #[test]
    fn the_bell_alone_is_one_byte() {
        assert_eq!(bytes(&Ring { text: "x".into(), bell: true, notification: false }), [7]);
    }
}
