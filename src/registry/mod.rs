//! What a config file can name, and how a named thing is built from its spanned table.
//!
//! A kind (of probe, log source, backup source, destination) is one file with one `Kind` value, and one
//! line in its folder's `KINDS`. Parsing, `check --kinds`, error positions and "did you mean" come for free.

pub mod masked;
pub mod node;
pub mod reference;
pub mod value;

use crate::domain::config_error::did_you_mean;
use crate::registry::node::Node;

/// One thing a config file can name by a key: `http`, `file`, `sqlite`.
pub struct Kind<T: ?Sized + 'static> {
    /// The key in the config.
    pub name: &'static str,
    /// One line for `check --kinds`.
    pub summary: &'static str,
    /// A complete TOML entry that `check` accepts.
    pub example: &'static str,
    /// Builds it from the value of the key (a string or a table).
    ///
    /// Returns `None` after the mistakes were reported through the node.
    pub build: fn(&Node<'_>) -> Option<Box<T>>,
}

/// Takes the one key of an entry that names its kind; `what` is the entry in words (`probe`).
///
/// Returns `None` after a missing, misspelt or second kind was reported. A misspelt kind counts as taken, so
/// that `Node::finish` does not report it once more.
pub fn pick<'k, 'a, T: ?Sized>(entry: &Node<'a>, what: &str, kinds: &'k [Kind<T>]) -> Option<(&'k Kind<T>, Node<'a>)> {
    let names: Vec<&str> = kinds.iter().map(|it| it.name).collect();
    let mut found = kinds.iter().filter_map(|kind| entry.get(kind.name).map(|node| (kind, node)));
    let Some(first) = found.next() else {
        let near = entry.untaken().into_iter().find_map(|(key, span)| {
            let near = did_you_mean(&key, names.iter().copied())?;
            Some((key, span, near))
        });
        let expected = names.join(", ");
        match near {
            Some((key, span, near)) => {
                let message = format!("unknown kind `{key}`, expected one of {expected}");
                entry.error_at(span, message, Some(format!("did you mean `{near}`?")));
                entry.take(&key);
            }
            None => entry.error_with_hint(
                format!("a {what} needs a kind: one of {expected}"),
                "run `hotseat check --kinds` to see an example of each",
            ),
        }
        return None;
    };
    if let Some((second, node)) = found.next() {
        node.error_with_hint(
            format!("a {what} has one kind, not both `{}` and `{}`", first.0.name, second.name),
            "make two entries of it",
        );
        return None;
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Source;

    const KINDS: &[Kind<str>] = &[
        Kind { name: "http", summary: "", example: "", build: |_| None },
        Kind { name: "tcp", summary: "", example: "", build: |_| None },
    ];

    fn check(text: &str, picked: Option<&str>, errors: &[&str]) {
        let source = Source::new("c.toml", text);
        let root = source.parse().expect("TOML");
        let kind = pick(&root, "probe", KINDS).map(|(kind, _)| kind.name);
        root.finish(&["name"]);
        let found: Vec<String> = source.errors().iter().map(ToString::to_string).collect();
        assert_eq!((kind, found.iter().map(String::as_str).collect::<Vec<_>>()), (picked, errors.to_vec()));
    }

    #[test]
    fn a_misspelt_kind_is_reported_once_with_its_likely_meaning() {
        check("http = 'x'", Some("http"), &[]);
        check(
            "htpp = 'x'\nname = 'n'",
            None,
            &["c.toml:1:1: unknown kind `htpp`, expected one of http, tcp (did you mean `http`?)"],
        );
        check(
            "http = 'x'\ntcp = 'y'",
            None,
            &["c.toml:2:7: a probe has one kind, not both `http` and `tcp` (make two entries of it)"],
        );
        check(
            "name = 'n'",
            None,
            &[
                "c.toml:1:1: a probe needs a kind: one of http, tcp (run `hotseat check --kinds` to see an example of each)",
            ],
        );
    }
}
