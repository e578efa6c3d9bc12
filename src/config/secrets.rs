//! Finds secrets that stand in a config which others on the host can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::domain::config_error::ConfigError;
use crate::domain::{sanitise, secrets};
use crate::registry::node::{EXPOSED, Node, Source};

/// Parts of a key's name that say that its value is a secret.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "bearer",
    "cookie",
    "access_key",
    "private_key",
];
/// Ends of a name that say that its value is only where the secret is.
const PLACES: &[&str] = &["_file", "_path", "_env", "_command"];
/// Keys whose value says what to look for, or is a name: a word like `token=` in it stands before no secret.
const ABOUT_OTHERS: &[&str] = &[
    "after",
    "exclude",
    "expect",
    "format",
    "include",
    "labels",
    "multiline",
    "name",
    "notify",
    "prefer",
    "query",
    "take",
];

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

/// Reports every secret that is written out in an entry when every user of the host can read the file; true when there is
/// one, and the entry is not to be used. One rule for every kind of entry, whatever its kind knows of secrets itself.
pub fn refuse(entry: &Node<'_>) -> bool {
    let mut found = Vec::new();
    visit(entry, false, false, &mut found);
    let mut is_refused = false;
    for it in &found {
        is_refused |= it.node.refuse_exposed(it.what(it.node.path()));
    }
    is_refused
}

/// True when a secret was refused because every user of the host can read the file.
pub fn is_refusal(mistake: &ConfigError) -> bool {
    mistake.message.ends_with(EXPOSED)
}

fn literals(file: &str, text: &str) -> Vec<ConfigError> {
    let source = Source::new(file, text);
    let Some(root) = source.parse() else { return Vec::new() };
    hide(&root);
    let mut found = Vec::new();
    visit(&root, false, false, &mut found);
    let warning = |it: &Literal<'_>| {
        let key = it.node.path().rsplit('.').next().unwrap_or_default();
        let mut warning = it.node.point(it.node.span());
        let what = it.what(&sanitise::text(key));
        warning.message = format!("{what} is written out and others on this host can read the file");
        warning.hint =
            Some("run `chmod 600` on the file, or put the value elsewhere: `${file:/path}`, `${env:NAME}`".into());
        source.mask(&mut warning);
        // A short one is not hidden everywhere, and the warning itself must not show it.
        if it.is_whole && it.node.raw_str().is_some_and(|it| warning.snippet.contains(it)) {
            warning.snippet = String::new();
        }
        warning
    };
    let mut found: Vec<ConfigError> = found.iter().map(warning).collect();
    found.sort_by_key(|it| (it.line, it.column));
    found
}

/// A secret that is written out.
struct Literal<'a> {
    node: Node<'a>,
    /// The value is it, by its key's name; else it is a part of the value.
    is_whole: bool,
}

impl Literal<'_> {
    fn what(&self, name: &str) -> String {
        if self.is_whole { format!("`{name}`") } else { format!("a secret in `{name}`") }
    }
}

fn is_secret(key: &str) -> bool {
    let name = key.to_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|it| name.contains(it)) && !PLACES.iter().any(|it| name.ends_with(it))
}

/// True for an option of a program whose next argument is a secret: `--password`.
fn is_secret_option(argument: &str) -> bool {
    argument.starts_with('-') && !argument.contains(['=', ':', ' ']) && is_secret(argument.trim_start_matches('-'))
}

/// Keeps every secret that is written out of the lines that mistakes are shown with: values below a key that says it is
/// one, and parts of others.
pub fn hide(node: &Node<'_>) {
    node.hide_parts();
    if node.is_array() {
        let mut follows = false;
        for item in node.items() {
            if follows {
                item.hide();
            }
            follows = item.raw_str().is_some_and(is_secret_option);
            hide(&item);
        }
    }
    for (key, _) in node.keys() {
        let Some(value) = node.peek(&key) else { continue };
        if is_secret(&key) {
            value.one_or_many().iter().for_each(Node::hide);
        }
        hide(&value);
    }
}

/// `named` says that the value is a secret by its key; `carries` is true in a journey: there `{name}` stands for what an
/// earlier step took.
fn visit<'a>(node: &Node<'a>, named: bool, carries: bool, found: &mut Vec<Literal<'a>>) {
    if let Some(text) = node.raw_str() {
        // A reference is the cure; an empty string is no secret.
        let is_whole = named && !(text.is_empty() || text.contains("${") || (carries && text.contains('{')));
        let has_part = || secrets::written_out(text).into_iter().any(|it| !(carries && text[it].contains('{')));
        if is_whole || has_part() {
            found.push(Literal { node: node.clone(), is_whole });
        }
        return;
    }
    if node.is_array() {
        let mut follows = false;
        for item in node.items() {
            let is_option = item.raw_str().is_some_and(|it| it.starts_with('-'));
            visit(&item, named || (follows && !is_option), carries, found);
            follows = item.raw_str().is_some_and(is_secret_option);
        }
    }
    for (key, _) in node.keys() {
        let Some(value) = node.peek(&key).filter(|_| !ABOUT_OTHERS.contains(&key.as_str())) else { continue };
        visit(&value, is_secret(&key), carries || key == "journey", found);
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
    fn an_entry_with_a_secret_written_out_is_refused_whatever_its_kind_and_nothing_shows_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("c.toml");
        let name = file.display().to_string();
        let refused = [
            ("probe", "http = { url = 'http://h/', basic = { user = 'u', password = 's3cret' } }"),
            ("probe", "http = { url = 'http://h/', bearer = 's3cret' }"),
            ("probe", "http = { url = 'http://h/', headers = { Cookie = 'sid=s3cret' } }"),
            ("probe", "http = { url = 'http://h/', headers = { x-api-key = 's3cret' } }"),
            ("probe", "http = 'http://u:s3cret@h/'"),
            ("probe", "http = 'http://h/?api_key=s3cret'"),
            ("probe", "command = ['true', '--password=s3cret']"),
            ("probe", "command = ['true', '--password', 's3cret']"),
            ("log", "loki = { url = 'http://u:s3cret@h', query = '{a=\"b\"}' }"),
            ("notifier", "command = ['curl', '-H', 'Authorization: Bearer s3cret', 'http://h']"),
        ];
        let kept = [
            ("probe", "http = { url = 'http://h/', bearer = '${env:PATH}' }"),
            ("probe", "http = 'http://h/'\nexpect = ['body =~ \"token=s3cret\"']"),
            ("probe", "command = ['true', '--token-file=/run/t', '--password', '--quiet']"),
        ];
        for ((kind, line), is_refused) in refused.iter().map(|it| (it, true)).chain(kept.iter().map(|it| (it, false))) {
            let text = format!("[[{kind}]]\nname = 'n'\n{line}\n[[probe]]\nname = 'rest'\ntcp = 'h:1'\n");
            std::fs::write(&file, &text).expect("written");
            for mode in [0o644, 0o600] {
                std::fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
                let loaded = crate::config::read_text(&name, &text, crate::registry::node::Commands::Defer);
                let config = &loaded.config;
                let count = config.probes.len() + config.logs.len() + config.notifiers.len();
                let expected = if is_refused && mode == 0o644 { 1 } else { 2 };
                assert_eq!(count, expected, "{line}: {:?}", loaded.errors);
                assert_eq!(loaded.errors.iter().filter(|it| is_refusal(it)).count(), 2 - count, "{:?}", loaded.errors);
                assert!(loaded.errors.iter().all(|it| !it.snippet.is_empty()));
                let said = format!("{:?} {:?}", loaded.errors, warnings(&name, &text));
                assert!(!is_refused || !said.contains("s3cret"), "{said}");
            }
        }
    }

    #[test]
    fn beats_are_not_taken_with_a_token_that_everybody_can_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("c.toml");
        let text = "[beat]\nlisten = '127.0.0.1:1'\ntoken = '0123456789abcdef'\n";
        std::fs::write(&file, text).expect("written");
        for (mode, is_refused) in [(0o644, true), (0o600, false)] {
            std::fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            let loaded =
                crate::config::read_text(&file.display().to_string(), text, crate::registry::node::Commands::Defer);
            let refused = loaded.errors.iter().any(is_refusal);
            assert_eq!((loaded.config.beat.is_none(), refused), (is_refused, is_refused), "{:?}", loaded.errors);
        }
    }

    #[test]
    fn a_mistake_beside_a_url_with_a_login_shows_neither_it_nor_a_secret_of_the_query() {
        let text = "[[log]]\nname = 'a'\nloki = { url = 'http://bob:pw@h:9/x?token=abc', tokn = 1 }\n";
        let (_, errors) = crate::config::parse("c.toml", text);
        let snippet = "loki = { url = 'http://bob:**@h:9/x?token=***', tokn = 1 }";
        assert!(errors.iter().any(|it| it.snippet == snippet), "{errors:?}");
        let said = format!("{errors:?}");
        assert!(!said.contains("bob:pw") && !said.contains("token=abc"), "{said}");
    }

    #[test]
    fn a_mistake_beside_a_secret_does_not_show_it() {
        let text = "[[log]]\nname = 'a'\nloki = { url = 'http://x', token = 's3cret', tokn = 1 }\n";
        let (_, errors) = crate::config::parse("c.toml", text);
        assert!(!errors.is_empty() && !format!("{errors:?}").contains("s3cret"), "{errors:?}");
    }
}
