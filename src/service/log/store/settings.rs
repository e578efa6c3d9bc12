//! What all stores are told in the config: where they are, who asks, how far back, how often.

use std::time::Duration;

use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::registry::node::Node;
use crate::service::log::store::http::{Access, Login, Secret};
use crate::service::veil::Veil;

/// How far back a store is read when nothing is said: what most of them keep.
const SINCE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a store is asked for news when nothing is said.
const POLL: Duration = Duration::from_secs(2);
/// Servers should not be asked more often.
const MIN_POLL: Duration = Duration::from_millis(200);

/// What all stores are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// Where and as whom to ask.
    pub access: Access,
    /// Older records are not read.
    pub since: Duration,
    /// How often to ask for news.
    pub poll: Duration,
}

/// Reads `url`, `user`, `password`, `token`, `ca`, `since`, `poll` and, where there is one, `api_key`. Mistakes are
/// reported through the node.
pub fn read_common(node: &Node<'_>, has_api_key: bool) -> Option<Common> {
    let url = node.require("url").and_then(|it| read_url(&it));
    let mut login = read_login(node, has_api_key);
    let mut is_good = true;
    let mut authorities = None;
    if let Some(ca) = node.get("ca") {
        authorities = read_authorities(&ca);
        is_good &= authorities.is_some();
    }
    let mut duration = |key: &str, default: Duration, least: Duration| {
        let Some(node) = node.get(key) else { return default };
        match node.duration() {
            Some(found) if found >= least => return found,
            Some(_) => {
                node.error_with_hint(format!("`{key}` is too short"), format!("at least {} ms", least.as_millis()));
                is_good = false;
            }
            None => is_good = false,
        }
        default
    };
    let since = duration("since", SINCE, Duration::from_secs(60));
    let poll = duration("poll", POLL, MIN_POLL);
    let mut url = url?;
    // Taken out, because a URL is shown.
    if let (Some(password), Some(Login::None)) = (url.password().map(str::to_string), &login) {
        login = Some(Login::Basic(url.username().to_string(), Secret(password)));
    }
    // Neither fails: a URL with a host can have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let access = Access { url, login: login?, headers: Vec::new(), authorities, veil: Veil::default() };
    is_good.then_some(Common { access, since, poll })
}

fn read_url(node: &Node<'_>) -> Option<Url> {
    let text = node.string()?;
    let hint = "write where the store listens, as in `https://logs.example.com:3100`";
    let Ok(url) = Url::parse(&text) else {
        node.error_with_hint("this is no URL", hint);
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        node.error_with_hint(format!("a store is asked over http or https, not `{}`", url.scheme()), hint);
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        node.error_with_hint("the URL of a store ends before `?`", hint);
        return None;
    }
    Some(url)
}

fn read_login(node: &Node<'_>, has_api_key: bool) -> Option<Login> {
    let text = |key: &str| node.get(key).map(|it| it.string().filter(|it| !it.is_empty()).map(|text| (it, text)));
    let (user, password, token) = (text("user"), text("password"), text("token"));
    let api_key = if has_api_key { text("api_key") } else { None };
    let mut logins = Vec::new();
    match (user, password) {
        (Some(user), Some(password)) => logins.push(Login::Basic(user?.1, Secret(password?.1))),
        (None, None) => {}
        (Some(user), None) => {
            user?.0.error_with_hint("`user` without `password`", "write `password = \"${file:/path}\"` beside it");
            return None;
        }
        (None, Some(password)) => {
            password?.0.error_with_hint("`password` without `user`", "write `user = \"…\"` beside it");
            return None;
        }
    }
    for (found, make) in [(token, Login::Bearer as fn(Secret) -> Login), (api_key, Login::ApiKey)] {
        if let Some(found) = found {
            let (at, secret) = found?;
            if !logins.is_empty() {
                at.error_with_hint("a store takes one kind of credentials", "keep `user` and `password`, or one other");
                return None;
            }
            logins.push(make(Secret(secret)));
        }
    }
    Some(logins.pop().unwrap_or_default())
}

fn read_authorities(node: &Node<'_>) -> Option<Vec<Vec<u8>>> {
    let path = node.string()?;
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let hint = "name a file in PEM form, `-----BEGIN CERTIFICATE-----`";
    match read {
        Ok(found) if !found.is_empty() => Some(found.iter().map(|it| it.to_vec()).collect()),
        Ok(_) => {
            node.error_with_hint(format!("`{path}` holds no certificate"), hint);
            None
        }
        Err(error) => {
            node.error_with_hint(format!("could not read certificates from `{path}`: {error}"), hint);
            None
        }
    }
}

/// Reads a name or pattern of the store, such as an index or a field: not empty, no white space.
pub fn read_word(node: &Node<'_>, what: &str) -> Option<String> {
    let text = node.string()?;
    if text.is_empty()
        || text.chars().any(|it| it.is_whitespace() || it.is_control() || matches!(it, '/' | '?' | '#' | '"'))
    {
        node.error_with_hint(
            format!("`{}` is no {what}", crate::domain::sanitise::text(&text)),
            format!("write the {what} as the store knows it"),
        );
        return None;
    }
    Some(text)
}
