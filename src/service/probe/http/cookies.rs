//! Cookies that the steps of a journey keep: what a browser would send back, and to whom (RFC 6265).

use hyper::header::{self, HeaderMap};

use crate::service::probe::http::location::Target;

/// Cookies kept of one run: browsers keep some fifty a site.
const COOKIES_MAX: usize = 64;
/// Bytes of one cookie, as browsers have it.
const COOKIE_MAX: usize = 4096;

/// The cookies of one run.
#[derive(Debug, Default)]
pub struct Jar {
    cookies: Vec<Cookie>,
}

#[derive(Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    domain: String,
    // Sent to this very host only.
    is_host_only: bool,
    path: String,
    is_secure: bool,
}

impl Jar {
    /// Takes the cookies that an answer sets.
    pub fn take(&mut self, target: &Target, headers: &HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let Some((cookie, is_over)) = value.to_str().ok().and_then(|it| parse(target, it)) else { continue };
            let same = |it: &Cookie| (&it.name, &it.domain, &it.path) == (&cookie.name, &cookie.domain, &cookie.path);
            self.cookies.retain(|it| !same(it));
            if !is_over && self.cookies.len() < COOKIES_MAX {
                self.cookies.push(cookie);
            }
        }
    }

    /// The value of `Cookie` for a request, or `None` without cookies.
    pub fn header(&self, target: &Target) -> Option<String> {
        let mut fitting: Vec<&Cookie> = self.cookies.iter().filter(|it| it.fits(target)).collect();
        // Longer paths first.
        fitting.sort_by_key(|it| std::cmp::Reverse(it.path.len()));
        let pairs: Vec<String> = fitting.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of a cookie by its name, the newest when several have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.cookies.iter().rev().find(|it| it.name == name).map(|it| it.value.as_str())
    }

    /// The values, none of which may be shown.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.cookies.iter().map(|it| it.value.as_str())
    }
}

impl Cookie {
    fn fits(&self, target: &Target) -> bool {
        let host = target.host.to_ascii_lowercase();
        let path = target.path().split('?').next().unwrap_or("/");
        let by_host = host == self.domain || (!self.is_host_only && is_below(&host, &self.domain));
        let by_path = path == self.path
            || (path.starts_with(&self.path) && (self.path.ends_with('/') || path[self.path.len()..].starts_with('/')));
        by_host && by_path && (target.is_tls || !self.is_secure)
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    // An address is below nothing.
    host.parse::<std::net::IpAddr>().is_err()
        && host.strip_suffix(domain).is_some_and(|it| it.ends_with('.') && it.len() > 1)
}

/// Reads a `Set-Cookie`, and whether it takes the cookie away.
fn parse(target: &Target, text: &str) -> Option<(Cookie, bool)> {
    if text.len() > COOKIE_MAX {
        return None;
    }
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let host = target.host.to_ascii_lowercase();
    let folder = target.path().split('?').next().unwrap_or("/");
    let folder = &folder[..folder.rfind('/').filter(|it| *it > 0).unwrap_or(1)];
    let mut cookie = Cookie {
        name: name.trim().to_string(),
        value: value.trim().to_string(),
        domain: host.clone(),
        is_host_only: true,
        path: folder.to_string(),
        is_secure: false,
    };
    let mut is_over = false;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "domain" if !value.is_empty() => {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                // Nobody sets cookies for a whole top-level domain, or for others.
                if domain != host && !(domain.contains('.') && is_below(&host, &domain)) {
                    return None;
                }
                cookie.is_host_only = false;
                cookie.domain = domain;
            }
            "path" if value.starts_with('/') => cookie.path = value.to_string(),
            "secure" => cookie.is_secure = true,
            "max-age" => is_over = value.parse::<i64>().is_ok_and(|it| it <= 0),
            // The usual way to take a cookie away; other dates lie in the future of a run of seconds.
            "expires" if value.contains("1970") => is_over = true,
            _ => {}
        }
    }
    (!cookie.name.is_empty()).then_some((cookie, is_over))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Target {
        Target::parse(url).expect("a URL")
    }

    fn jar(url: &str, cookies: &[&str]) -> Jar {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie.parse().expect("a value"));
        }
        let mut jar = Jar::default();
        jar.take(&at(url), &headers);
        jar
    }

    #[test]
    fn a_cookie_goes_back_to_whom_it_belongs() {
        let jar = jar(
            "https://shop.example.com/a/login",
            &[
                "sid=1",
                "all=2; Domain=example.com; Path=/",
                "safe=3; Secure; Path=/",
                "evil=4; Domain=com",
                "x=5; Domain=other.net",
            ],
        );
        for (url, wanted) in [
            ("https://shop.example.com/a/cart", Some("sid=1; all=2; safe=3")),
            ("https://shop.example.com/ab", Some("all=2; safe=3")),
            ("http://shop.example.com/a", Some("sid=1; all=2")),
            ("https://www.example.com/a/", Some("all=2")),
            ("https://evilexample.com/", None),
        ] {
            assert_eq!(jar.header(&at(url)).as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn a_cookie_can_be_replaced_and_taken_away() {
        let url = "http://h/";
        assert_eq!(jar(url, &["sid=1", "sid=2"]).header(&at(url)).as_deref(), Some("sid=2"));
        assert_eq!(jar(url, &["sid=1", "sid=; Max-Age=0"]).header(&at(url)), None);
        assert_eq!(jar(url, &["sid=1"]).get("sid"), Some("1"));
    }
}
