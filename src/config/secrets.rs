//! Finds secrets that stand in a config which others on the host can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::domain::config_error::ConfigError;
use crate::domain::sanitise;
use crate::registry::node::{EXPOSED, Node, Source};

/// Parts of a key's name that say that its value is a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "authorization"];

/// True when every user of the host can read the file, by its permission bits.
///
/// A group is no reason to refuse: a service's config commonly is `root:service 0640`.
pub fn is_exposed(file: &str) -> bool {
    fs::metadata(file).is_ok_and(|it| it.permissions().mode() & 0o004 != 0)
}

/// Returns a warning for every secret written out in the file, when not the user alone can read the file.
pub fn warnings(file: &str, text: &str) -> Vec<ConfigError> {
    let others_read = fs::metadata(file).is_ok_and(|it| it.permissions().mode() & 0o044 != 0);
    if !others_read { Vec::new() } else { literals(file, text) }
}

/// True when a secret was refused because every user of the host can read the file.
pub fn is_refusal(mistake: &ConfigError) -> bool {
    mistake.message.ends_with(EXPOSED)
}

fn literals(file: &str, text: &str) -> Vec<ConfigError> {
    let source = Source::new(file, text);
    let mut found = Vec::new();
    if let Some(root) = source.parse() {
        visit(&root, false, &mut found);
    }
    found.sort_by_key(|it| (it.line, it.column));
    found
}

fn is_secret(key: &str) -> bool {
    let name = key.to_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|it| name.contains(it))
}

/// Keeps every value below a key that says it is a secret out of the lines that mistakes are shown with.
pub fn hide(node: &Node<'_>) {
    if node.is_array() {
        node.items().iter().for_each(hide);
    }
    for (key, _) in node.keys() {
        let Some(value) = node.peek(&key) else { continue };
        if is_secret(&key) {
            value.hide();
        }
        hide(&value);
    }
}

/// `carries` is true in a journey: there `{name}` stands for what an earlier step took.
fn visit(node: &Node<'_>, carries: bool, found: &mut Vec<ConfigError>) {
    if node.is_array() {
        for item in node.items() {
            visit(&item, carries, found);
        }
    }
    for (key, _) in node.keys() {
        let Some(value) = node.peek(&key) else { continue };
        // A reference is the cure; an empty string is no secret.
        let is_literal =
            value.raw_str().is_some_and(|it| !(it.is_empty() || it.contains("${") || (carries && it.contains('{'))));
        if is_secret(&key) && is_literal {
            let mut warning = value.point(value.span());
            warning.message =
                format!("`{}` is written out and others on this host can read the file", sanitise::text(&key));
            warning.hint =
                Some("run `chmod 600` on the file, or put the value elsewhere: `${file:/path}`, `${env:NAME}`".into());
            // The warning itself must not show it.
            warning.snippet = String::new();
            found.push(warning);
        }
        // `take` says where a value comes from, by the name that it gets.
        if !(carries && key == "take") {
            visit(&value, carries || key == "journey", found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_literal_of_a_secret_key_is_found_and_it_is_not_shown() {
        let text = "[[probe]]\nname = 'token'\nhttp = { url = 'http://x', headers = { Authorization = 'Bearer s3cret' } }\n\
                    [a]\npassword = '${env:PW}'\nempty_token = ''\n";
        let found = literals("c.toml", text);
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), [3]);
        assert!(!format!("{found:?}").contains("s3cret"));

        let text = "[[probe.journey]]\nhttp = { url = 'u', headers = { Authorization = 'Bearer {token}' } }\n\
                    take = { token = 'json.token' }\n";
        assert_eq!(literals("c.toml", text).len(), 0, "what is carried is not written out");
    }

    #[test]
    fn a_mistake_beside_a_secret_does_not_show_it() {
        let text = "[[log]]\nname = 'a'\nloki = { url = 'http://x', token = 's3cret', tokn = 1 }\n";
        let (_, errors) = crate::config::parse("c.toml", text);
        assert!(!errors.is_empty() && !format!("{errors:?}").contains("s3cret"), "{errors:?}");
    }
}
