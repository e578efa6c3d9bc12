//! Makes a text fit an SMS: GSM 03.38 and UCS-2 segments, cut between graphemes.
//!
//! 160 characters of the GSM alphabet fit one segment, 153 each of several; one character outside of it makes
//! the whole message UCS-2, where 70 and 67 fit. So what has a plain twin (backticks, dashes, curly quotes) is
//! replaced when that keeps the message in the cheap alphabet.

use unicode_segmentation::UnicodeSegmentation;

/// The basic table of GSM 03.38: one septet each.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
                     ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension table: two septets each.
const EXTENDED: &str = "^{}\\[~]|€";

/// Texts that look the same and are in the alphabet.
const PLAIN: &[(&str, &str)] = &[
    ("`", "'"),
    ("‘", "'"),
    ("’", "'"),
    ("“", "\""),
    ("”", "\""),
    ("–", "-"),
    ("—", "-"),
    ("…", "..."),
    ("→", "->"),
    ("•", "*"),
    ("≥", ">="),
    ("≤", "<="),
    ("\t", " "),
    ("\u{a0}", " "),
];

/// Most segments of one message: Twilio takes 1,600 characters. A storm may have them all when nothing is said, because
/// it names everything.
pub const SEGMENTS_MAX: usize = 10;

/// What a text takes of a segment: septets, or units of UTF-16 when it has a character that GSM 03.38 does not.
pub fn width(text: &str) -> usize {
    let widths: Option<usize> = text.chars().map(septets).sum();
    widths.unwrap_or_else(|| text.encode_utf16().count())
}

/// Segments that a text takes.
pub fn segments(text: &str) -> usize {
    let widths: Option<Vec<usize>> = text.chars().map(septets).collect();
    match widths {
        Some(widths) => count(&widths, 160, 153),
        // A surrogate pair is not torn apart.
        None => count(&text.chars().map(char::len_utf16).collect::<Vec<_>>(), 70, 67),
    }
}

/// True when a text with ` suffix` behind it takes at most so many segments.
pub fn fits(text: &str, suffix: &str, segments_max: usize) -> bool {
    segments(&format!("{} {suffix}", plain(text).trim_end())) <= segments_max
}

/// Cuts a text so that with ` suffix` behind it it takes at most so many segments.
pub fn fit(text: &str, suffix: &str, segments_max: usize) -> String {
    let text = plain(text);
    let whole = format!("{} {suffix}", text.trim_end());
    if segments(&whole) <= segments_max {
        return whole;
    }
    let ends: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
    // A longer beginning never takes fewer segments.
    let cut = |end: usize| format!("{}... {suffix}", text[..end].trim_end());
    let fitting = ends.partition_point(|end| segments(&cut(*end)) <= segments_max);
    fitting.checked_sub(1).map_or_else(|| suffix.to_string(), |last| cut(ends[last]))
}

fn plain(text: &str) -> String {
    let replaced = PLAIN.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to));
    // When it does not save the alphabet, the text stays as it was written.
    if replaced.chars().all(|it| septets(it).is_some()) { replaced } else { text.to_string() }
}

fn septets(it: char) -> Option<usize> {
    if BASIC.contains(it) {
        return Some(1);
    }
    EXTENDED.contains(it).then_some(2)
}

fn count(widths: &[usize], alone: usize, each: usize) -> usize {
    if widths.iter().sum::<usize>() <= alone {
        return 1;
    }
    let (mut segments, mut room) = (1, each);
    for width in widths {
        if *width > room {
            segments += 1;
            room = each;
        }
        room -= width;
    }
    segments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn segments_are_counted_as_the_networks_do() {
        for (text, wanted) in [
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(306), 2),
            ("a".repeat(307), 3),
            // Two septets: 80 fit, and the escape is not torn from its character.
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            ("€".repeat(153), 3),
            ("ï".repeat(70), 1),
            ("ï".repeat(71), 2),
            ("ï".repeat(134), 2),
            ("ï".repeat(135), 3),
            // Two units: 35 fit one segment, 33 each of several.
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
            ("😀".repeat(67), 3),
        ] {
            assert_eq!(segments(&text), wanted, "{} × {:?}", text.chars().count(), text.chars().next());
        }
    }

    #[test]
    fn what_is_cut_keeps_its_id() {
        assert_eq!(fit("api DOWN: `db` – timeout…", "#17", 3), "api DOWN: 'db' - timeout... #17");
        assert_eq!(fit("api DOWN: 日本", "#17", 3), "api DOWN: 日本 #17");
        let long = fit(&"api ".repeat(200), "#17", 2);
        assert!(long.ends_with("... #17") && segments(&long) == 2, "{long}");
        let family = fit(&"👨‍👩‍👧‍👦".repeat(50), "#17", 1);
        assert!(family.starts_with("👨‍👩‍👧‍👦") && family.ends_with("👨‍👩‍👧‍👦... #17"), "{family}");
    }

    proptest! {
        #[test]
        fn nothing_takes_more_segments_than_it_may(text in "\\PC{0,600}", most in 1..5_usize) {
            let fitted = fit(&text, "#17", most);
            prop_assert!(segments(&fitted) <= most);
            prop_assert!(fitted.ends_with("#17"));
        }
    }
}
