//! `proxy = "http://user:password@proxy:3128"`: asking a proxy to open the way to a server (RFC 9110, 9.3.6).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::domain::probe::outcome::Cause;
use crate::domain::sanitise;
use crate::registry::node::Node;
use crate::service::probe::http::location::Target;
use crate::service::probe::net::{self, Stream, Verdict, fail};

/// Bytes of a proxy's answer that are read: a status line and a few headers.
const ANSWER_MAX: usize = 16 << 10;

/// The proxy that requests go through.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

impl Proxy {
    /// Reads the URL; what must never be shown is added to `secrets`.
    pub fn read(node: &Node<'_>, secrets: &mut Vec<String>) -> Option<Self> {
        let text = node.string()?;
        let hint = "write `http://proxy.example.com:3128`, with `user:password@` when it asks for them";
        if !text.starts_with("http://") {
            node.error_with_hint("a proxy's URL must begin with `http://`", hint);
            return None;
        }
        match Target::parse(&text) {
            Ok(target) if target.path() == "/" => {
                let authorization = target.userinfo.as_deref().map(|it| basic(it, secrets));
                Some(Self { host: target.host, port: target.port, authorization })
            }
            Ok(_) => {
                node.error_with_hint("a proxy's URL has no path", hint);
                None
            }
            Err(message) => {
                node.error_with_hint(message, hint);
                None
            }
        }
    }

    /// Asks for a way to `host` and `port`.
    ///
    /// # Errors
    /// When the proxy refuses, or answers something else.
    pub async fn tunnel(&self, stream: &mut Stream, host: &str, port: u16) -> Result<(), Verdict> {
        let broken = |error: std::io::Error| {
            fail(Cause::Reset, "proxy reset", format!("the proxy {} hung up: {error}", self.shown()))
        };
        let place = net::shown(host, port);
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut head = Vec::new();
        let mut buffer = [0; 2048];
        // The server behind it speaks only after we did, so nothing of its own can follow the head.
        while !head.windows(4).any(|it| it == b"\r\n\r\n") {
            let length = stream.read(&mut buffer).await.map_err(broken)?;
            head.extend_from_slice(&buffer[..length]);
            if length == 0 || head.len() > ANSWER_MAX {
                let text = format!("the proxy {} did not answer with HTTP", self.shown());
                return Err(fail(Cause::Protocol, "proxy", text));
            }
        }
        let line = String::from_utf8_lossy(head.split(|it| *it == b'\r').next().unwrap_or_default()).into_owned();
        let status = line.strip_prefix("HTTP/1.").and_then(|it| it.get(2..5)).and_then(|it| it.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(()),
            Some(status) => {
                let text = format!("the proxy {} refused the way to {place}: {}", self.shown(), sanitise::text(&line));
                Err(fail(Cause::Status, &format!("proxy {status}"), text))
            }
            None => {
                let text = format!("the proxy {} did not answer with HTTP", self.shown());
                Err(fail(Cause::Protocol, "proxy", text))
            }
        }
    }

    /// The proxy for people.
    pub fn shown(&self) -> String {
        net::shown(&self.host, self.port)
    }
}

/// Makes the value of an `Authorization` of `user:password`, and keeps what must never be shown.
pub fn basic(userinfo: &str, secrets: &mut Vec<String>) -> String {
    let userinfo = decoded(userinfo);
    let password = userinfo.split_once(':').map_or(userinfo.as_str(), |(_, password)| password);
    secrets.push(password.to_string());
    let encoded = STANDARD.encode(&userinfo);
    secrets.push(encoded.clone());
    format!("Basic {encoded}")
}

/// Takes `%40` for `@`: a password in a URL has to be written so.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |it: u8| char::from(it).to_digit(16);
        let pair = after.first().zip(after.get(1)).and_then(|(high, low)| hex(*high).zip(hex(*low)));
        match (*first, pair) {
            (b'%', Some((high, low))) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_may_be_escaped() {
        let mut secrets = Vec::new();
        assert_eq!(basic("bob:p%40ss%2", &mut secrets), format!("Basic {}", STANDARD.encode("bob:p@ss%2")));
        assert_eq!(secrets[0], "p@ss%2");
    }
}
