//! Where a request goes: a URL taken apart, and the place a redirect leads to.

use hyper::Uri;

/// An http or https URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// https.
    pub is_tls: bool,
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// Given, or 80 and 443.
    pub port: u16,
    // Path and query, always beginning with `/`.
    path: String,
    /// `user:password`, when the URL has it.
    pub userinfo: Option<String>,
}

impl Target {
    /// Takes a URL apart. A fragment is left out.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.split('#').next().unwrap_or_default();
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Err("the URL must begin with `http://` or `https://`".into());
        }
        let uri: Uri = text.parse().map_err(|error| format!("bad URL: {error}"))?;
        let authority = uri.authority().ok_or("the URL has no host")?;
        let is_tls = uri.scheme_str() == Some("https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
        if host.is_empty() {
            return Err("the URL has no host".into());
        }
        let has_port = authority.as_str().rsplit('@').next().is_some_and(|it| it.len() > authority.host().len());
        let port = match authority.port_u16() {
            Some(port) if port > 0 => port,
            None if !has_port => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            _ => return Err("the port must be from 1 to 65535".into()),
        };
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        let userinfo = authority.as_str().rsplit_once('@').map(|(userinfo, _)| userinfo.to_string());
        Ok(Self { is_tls, host, port, path, userinfo })
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port for the `Host` header: the port only when it is not the usual one.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL for people: no password, no query values.
    pub fn shown(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let path = match self.path.split_once('?') {
            Some((path, _)) => format!("{path}?…"),
            None => self.path.clone(),
        };
        format!("{scheme}://{}{path}", self.authority())
    }

    /// True when credentials for the one may be sent to the other.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_tls, &self.host, self.port) == (other.is_tls, &other.host, other.port)
    }

    /// Resolves what a `Location` header says against this URL.
    ///
    /// # Errors
    /// When it leads nowhere that http can go.
    pub fn join(&self, location: &str) -> Result<Self, String> {
        let location = location.trim().split('#').next().unwrap_or_default();
        if location.contains("://") && !location.starts_with('/') && !location.starts_with('?') {
            return Self::parse(location);
        }
        let scheme = if self.is_tls { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let old_path = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('/') {
            location.to_string()
        } else if location.is_empty() || location.starts_with('?') {
            format!("{old_path}{location}")
        } else {
            let folder = old_path.rfind('/').map_or("/", |at| &old_path[..=at]);
            format!("{folder}{location}")
        };
        Self::parse(&format!("{scheme}://{}{path}", self.authority()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_where_it_came_from() {
        let base = Target::parse("https://u:p@h.example:8443/a/b?q=1").expect("a URL");
        for (location, wanted) in [
            ("http://x.example/", "http://x.example/"),
            ("//x.example/y", "https://x.example/y"),
            ("/c?d=1", "https://h.example:8443/c?…"),
            ("c", "https://h.example:8443/a/c"),
            ("?z", "https://h.example:8443/a/b?…"),
            ("http://[::1]:81/", "http://[::1]:81/"),
        ] {
            assert_eq!(base.join(location).expect("a place").shown(), wanted, "{location}");
        }
        assert!(base.join("ftp://x/").is_err());
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let target = Target::parse("https://bob:hunter2@h/x?token=abc").expect("a URL");
        assert_eq!(target.shown(), "https://h/x?…");
        assert_eq!(target.userinfo.as_deref(), Some("bob:hunter2"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["h/x", "https://", "http://h:0/", "http://h:99999/", "http://h:/", "ftp://h/"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
