//! How incidents and the files of their writers are called.

use jiff::Zoned;
use jiff::civil::Date;

/// Letters of the random part: no vowels (no words), no `0 1 l o` (no doubt when read aloud).
const LETTERS: &[u8] = b"23456789bcdfghjkmnpqrstvwxz";

/// Longest part of a file name made of a user, host or source name.
const PART_MAX_CHARS: usize = 48;

/// The name of an incident declared at a time: `INC-20240819-1452-k7q2`. `random` picks the last four letters.
pub fn of_declaration(at: &Zoned, random: u32) -> String {
    let mut rest = random as usize;
    let mut letters = String::with_capacity(4);
    for _ in 0..4 {
        letters.push(LETTERS[rest % LETTERS.len()] as char);
        rest /= LETTERS.len();
    }
    format!("INC-{}-{letters}", at.strftime("%Y%m%d-%H%M"))
}

/// The name of a day's log-book: `LOG-20240819`.
pub fn of_log_book(day: Date) -> String {
    format!("LOG-{}", day.strftime("%Y%m%d"))
}

/// True for the name of a log-book.
pub fn is_log_book(name: &str) -> bool {
    name.starts_with("LOG-")
}

/// True for a name that can be a folder of ours. Keeps `..` and `/` out of paths.
pub fn is_valid(name: &str) -> bool {
    let known = name.strip_prefix("INC-").or_else(|| name.strip_prefix("LOG-"));
    let Some(rest) = known else { return false };
    let date = rest.get(..8).is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
    date && name.len() <= 64 && rest.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
}

/// The year folder it lies in.
pub fn year(name: &str) -> &str {
    name.get(4..8).unwrap_or("0000")
}

/// What sorts names by time, whatever their prefix: the date and all after it.
pub fn time_key(name: &str) -> &str {
    name.get(4..).unwrap_or_default()
}

/// The short form for a header: month, day and letters (`INC-0819-k7q2`); a log-book keeps its name.
pub fn short(name: &str) -> String {
    let mut parts = name.split('-');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("INC"), Some(date), Some(_), Some(letters)) if date.len() == 8 => {
            format!("INC-{}-{letters}", &date[4..])
        }
        _ => name.to_string(),
    }
}

/// Makes a user, host or source name fit for a file name: letters and digits of any script, `.`, `_`, `-`.
pub fn file_part(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|it| if it.is_alphanumeric() || matches!(it, '.' | '_' | '-') { it } else { '_' })
        .take(PART_MAX_CHARS)
        .collect();
    let clean = clean.trim_start_matches('.');
    if clean.is_empty() { "unnamed".into() } else { clean.to_string() }
}

/// The journal of a writer: `alice@bastion1.ndjson`.
pub fn journal_file(user: &str, host: &str) -> String {
    format!("{}@{}.ndjson", file_part(user), file_part(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_name_is_valid_and_short_enough_to_say() {
        let at: Zoned = "2024-08-19T14:52:00+08:00[Asia/Shanghai]".parse().unwrap();
        let name = of_declaration(&at, 123_456_789);
        assert!(is_valid(&name), "{name}");
        assert!(name.starts_with("INC-20240819-1452-"));
        assert_eq!(year(&name), "2024");
        assert_eq!(short(&name).len(), "INC-0819-k7q2".len());
        let book = of_log_book(at.date());
        assert!(is_valid(&book) && is_log_book(&book));
        assert_eq!(short(&book), book);
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for name in ["..", "INC-../../etc", "INC-2024", "LOG-20240819/x", "incident.md", "INC-日本20240819"] {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn user_and_host_become_one_file_name() {
        assert_eq!(journal_file("alice", "bastion1"), "alice@bastion1.ndjson");
        assert_eq!(journal_file("../a b\n", "李/x"), "_a_b_@李_x.ndjson");
        assert_eq!(journal_file("", "..."), "unnamed@unnamed.ndjson");
    }
}
