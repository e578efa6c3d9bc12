//! Decides what of a reference (`${env:…}`, `${file:…}`, `${cmd:…}`) must not be shown.
//!
//! Whoever writes a value elsewhere most often hides it, so what a reference stands for is a secret wherever it is put.
//! One thing is none: the place of what is looked at, because whoever is paged must read where it is. A host, with or
//! without its port, is a place where an address needs one: behind the `://` of a URL and its login, and in the keys of
//! `ADDRESSES`. Of a reference that stands for the whole beginning of a URL the scheme, the host and the port are the
//! place; a login, a path and a query may be secrets, as those of a chat's webhook are.

use std::net::IpAddr;

/// Keys whose text is an address of a host.
const ADDRESSES: &[&str] = &["tcp", "tls", "icmp", "grpc", "dns", "host", "server", "address", "listen"];
/// Longest name of a host, and longest part of it between dots (RFC 1035).
const HOST_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// The parts of what a reference stands for that must not be shown; `before` and `after` are the text around it, which is
/// the value of `key`.
pub fn secrets(key: &str, before: &str, value: &str, after: &str) -> Vec<String> {
    if is_host(value) && is_place(key, before, value, after) {
        return Vec::new();
    }
    if before.is_empty()
        && let Some((login, rest)) = around_host(value)
    {
        let login = login.into_iter().flat_map(|it| [Some(it), it.split_once(':').map(|it| it.1)]).flatten();
        let rest = rest.trim_start_matches('/');
        let parts = login.chain(Some(rest)).filter(|it| !it.is_empty());
        return parts.map(str::to_string).collect();
    }
    vec![value.to_string()]
}

/// True where an address has its host.
fn is_place(key: &str, before: &str, value: &str, after: &str) -> bool {
    let Some((_, before)) = before.rsplit_once("://") else {
        // Another reference beside it is a part of the host or the port as well.
        let whole = format!("{}{value}{}", without_references(before), without_references(after));
        return ADDRESSES.contains(&key) && is_host(&whole);
    };
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    !before.contains(['/', '?', '#']) && !authority.contains('@')
}

/// The text with a digit, which hosts and ports have, in the place of each reference.
fn without_references(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((plain, reference)) = rest.split_once("${") {
        result.push_str(plain);
        result.push('0');
        rest = reference.split_once('}').map_or("", |(_, rest)| rest);
    }
    result + rest
}

/// True for a name of a host, an address or a port, and for one with its port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    if !port.chars().all(|it| it.is_ascii_digit()) {
        return false;
    }
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let is_label = |it: &str| {
        (1..=LABEL_MAX).contains(&it.len())
            && it.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_'))
    };
    bare.parse::<IpAddr>().is_ok() || (host.len() <= HOST_MAX && host.trim_end_matches('.').split('.').all(is_label))
}

/// What stands around the host of a URL: its login and what is behind; `None` when it is no URL with a host.
fn around_host(value: &str) -> Option<(Option<&str>, &str)> {
    let (scheme, rest) = value.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    (is_scheme && is_host(host)).then_some((login, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_where_an_address_needs_one_is_shown_and_everything_else_is_not() {
        for (key, before, value, after, wanted) in [
            ("tcp", "", "db-1", ":5432", &[][..]),
            ("tcp", "", "10.0.0.5:5432", "", &[]),
            ("tcp", "db:", "5432", "", &[]),
            ("tcp", "[", "fd00::5", "]:5432", &[]),
            ("tcp", "${env:HOST}:", "5432", "", &[]),
            ("tcp", "", "db-1", ":${env:PORT}", &[]),
            ("tcp", "db-", "eu", ".example.com:5432", &[]),
            ("host", "", "mail.example.com", "", &[]),
            ("http", "https://", "api.example.com", "/health", &[]),
            ("http", "https://", "api.example.com:8443", "", &[]),
            ("http", "https://api-", "eu", ".example.com/", &[]),
            ("http", "https://bob:hunter22@", "db", "/", &[]),
            // A login, a path, a query.
            ("http", "https://", "bob", "@db/", &["bob"]),
            ("http", "https://bob:", "hunter22", "@db/", &["hunter22"]),
            ("http", "https://hooks.example.com/", "T0-B0-secret", "", &["T0-B0-secret"]),
            ("http", "https://db/?token=", "hunter22", "", &["hunter22"]),
            ("tcp", "", "no host!", "", &["no host!"]),
            // A whole URL.
            ("http", "", "https://api.example.com", "/health", &[]),
            ("http", "", "https://api.example.com/", "", &[]),
            ("slack", "", "https://hooks.example.com/services/T/B/x", "", &["services/T/B/x"]),
            ("http", "", "https://bob:hunter22@db/?key=1234", "", &["bob:hunter22", "hunter22", "?key=1234"]),
            // No address: a name is as good a secret as another word.
            ("token", "", "hunter22", "", &["hunter22"]),
            ("password", "", "db-1", "", &["db-1"]),
            ("command", "", "db-1", "", &["db-1"]),
            ("send", "LOGIN bob ", "hunter22", "\r\n", &["LOGIN", "hunter22"][1..]),
        ] {
            assert_eq!(secrets(key, before, value, after), wanted, "{key} = {before}{value}{after}");
        }
    }
}
