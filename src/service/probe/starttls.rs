//! Asking a server that begins in the clear to go on in TLS, in the words of its protocol.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::domain::probe::expect::shorten;
use crate::domain::probe::outcome::Cause;
use crate::domain::sanitise;
use crate::service::probe::net::{Stream, Verdict, fail};

/// Bytes of what a server says before TLS: a greeting and a list of what it can do.
const SAID_MAX: usize = 16 << 10;
/// Characters of a server's refusal that a message shows.
const SHOWN_MAX: usize = 80;
/// LDAP's extended request 1.3.6.1.4.1.1466.20037 with message id 1 (RFC 4511, 4.14).
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// PostgreSQL's SSLRequest: length 8, code 80877103.
const POSTGRES_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// MySQL's SSLRequest: 32 bytes, sequence 1; PROTOCOL_41, SSL and SECURE_CONNECTION, 16 MiB packets, utf8mb4.
const MYSQL_REQUEST: &[u8] = &[32, 0, 0, 1, 0x00, 0x8a, 0, 0, 0, 0, 0, 1, 45];
/// The bit of MySQL's lower capabilities that says SSL.
const MYSQL_SSL: u16 = 0x0800;

/// A protocol that can go on in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 2595.
    Imap,
    /// RFC 2595.
    Pop3,
    /// RFC 4217.
    Ftp,
    /// RFC 4642.
    Nntp,
    /// RFC 4511.
    Ldap,
    /// The SSLRequest of its frontend protocol.
    Postgres,
    /// The SSLRequest of its handshake.
    Mysql,
    /// RFC 6120.
    Xmpp,
}

/// The words of the config.
pub const WORDS: &[(&str, StartTls)] = &[
    ("smtp", StartTls::Smtp),
    ("imap", StartTls::Imap),
    ("pop3", StartTls::Pop3),
    ("ftp", StartTls::Ftp),
    ("nntp", StartTls::Nntp),
    ("ldap", StartTls::Ldap),
    ("postgres", StartTls::Postgres),
    ("mysql", StartTls::Mysql),
    ("xmpp", StartTls::Xmpp),
];

impl StartTls {
    /// Asks, and returns when the server waits for the TLS handshake.
    ///
    /// # Errors
    /// When it refuses, hangs up, or speaks something else.
    pub async fn ask(self, stream: &mut Stream, host: &str) -> Result<(), Verdict> {
        let mut talk = Talk { stream, rest: Vec::new() };
        match self {
            Self::Smtp => {
                talk.code("220").await?;
                talk.send(b"EHLO hotseat\r\n").await?;
                talk.code("250").await?;
                talk.send(b"STARTTLS\r\n").await?;
                talk.code("220").await?;
            }
            Self::Imap => {
                talk.line_with("* OK", "* ").await?;
                talk.send(b"a1 STARTTLS\r\n").await?;
                talk.line_with("a1 OK", "a1 ").await?;
            }
            Self::Pop3 => {
                talk.line_with("+OK", "").await?;
                talk.send(b"STLS\r\n").await?;
                talk.line_with("+OK", "").await?;
            }
            Self::Ftp => {
                talk.code("220").await?;
                talk.send(b"AUTH TLS\r\n").await?;
                talk.code("234").await?;
            }
            Self::Nntp => {
                talk.code("20").await?;
                talk.send(b"STARTTLS\r\n").await?;
                talk.code("382").await?;
            }
            Self::Ldap => talk.ldap().await?,
            Self::Postgres => talk.postgres().await?,
            Self::Mysql => talk.mysql().await?,
            Self::Xmpp => talk.xmpp(host).await?,
        }
        if !talk.rest.is_empty() {
            // What was sent in the clear must never be taken for something said in TLS (CVE-2011-0411).
            return Err(fail(Cause::Protocol, "starttls", "the server said more before TLS than it was asked for"));
        }
        Ok(())
    }
}

struct Talk<'a> {
    stream: &'a mut Stream,
    rest: Vec<u8>,
}

impl Talk<'_> {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Verdict> {
        self.stream.write_all(bytes).await.map_err(|it| broken(&it))?;
        self.stream.flush().await.map_err(|it| broken(&it))
    }

    async fn more(&mut self) -> Result<(), Verdict> {
        let mut buffer = [0; 2048];
        let length = self.stream.read(&mut buffer).await.map_err(|it| broken(&it))?;
        if length == 0 {
            return Err(fail(Cause::Reset, "reset", "the server hung up before TLS"));
        }
        self.rest.extend_from_slice(&buffer[..length]);
        if self.rest.len() > SAID_MAX {
            return Err(fail(Cause::Protocol, "starttls", "the server says too much before TLS"));
        }
        Ok(())
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Verdict> {
        while self.rest.len() < length {
            self.more().await?;
        }
        Ok(self.rest.drain(..length).collect())
    }

    async fn line(&mut self) -> Result<String, Verdict> {
        loop {
            if let Some(end) = self.rest.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_string());
            }
            self.more().await?;
        }
    }

    /// Reads a reply of a code and one or more lines, the last with a blank behind the code.
    async fn code(&mut self, wanted: &str) -> Result<(), Verdict> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return if line.starts_with(wanted) { Ok(()) } else { Err(refused(&line)) };
        }
    }

    /// Reads lines until one begins with `about`, which must begin with `wanted`.
    async fn line_with(&mut self, wanted: &str, about: &str) -> Result<(), Verdict> {
        loop {
            let line = self.line().await?;
            if line.starts_with(wanted) {
                return Ok(());
            }
            if line.starts_with(about) {
                return Err(refused(&line));
            }
        }
    }

    async fn ldap(&mut self) -> Result<(), Verdict> {
        self.send(LDAP_REQUEST).await?;
        let head = self.exactly(2).await?;
        let length = match head[1] {
            length @ 0..=0x7f => usize::from(length),
            0x81 => usize::from(self.exactly(1).await?[0]),
            _ => return Err(refused("an answer that is not LDAP")),
        };
        let answer = self.exactly(length).await?;
        // Message id, then the extended response with its result code.
        let at = answer.windows(2).position(|it| it == [0x0a, 0x01]).map(|it| it + 2);
        match at.and_then(|it| answer.get(it)) {
            Some(0) if head[0] == 0x30 => Ok(()),
            Some(code) => Err(refused(&format!("result code {code}"))),
            None => Err(refused("an answer that is not LDAP")),
        }
    }

    async fn postgres(&mut self) -> Result<(), Verdict> {
        self.send(POSTGRES_REQUEST).await?;
        match self.exactly(1).await?[0] {
            b'S' => Ok(()),
            b'N' => Err(refused("N")),
            _ => Err(refused("an answer that is not PostgreSQL's")),
        }
    }

    async fn mysql(&mut self) -> Result<(), Verdict> {
        let head = self.exactly(4).await?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if length > SAID_MAX {
            return Err(refused("a greeting that is not MySQL's"));
        }
        let greeting = self.exactly(length).await?;
        // Version 10, the server's version up to a NUL, 4 bytes thread, 8 of salt, 1 filler, 2 capabilities.
        let name_end = greeting.iter().position(|it| *it == 0).filter(|_| greeting.first() == Some(&10));
        let capabilities =
            name_end.and_then(|it| greeting.get(it + 14..it + 16)).map(|it| u16::from_le_bytes([it[0], it[1]]));
        match capabilities {
            Some(it) if it & MYSQL_SSL != 0 => {
                let mut request = MYSQL_REQUEST.to_vec();
                request.resize(4 + 32, 0);
                self.send(&request).await
            }
            Some(_) => Err(refused("a greeting without SSL")),
            None => Err(refused("a greeting that is not MySQL's")),
        }
    }

    async fn xmpp(&mut self, host: &str) -> Result<(), Verdict> {
        // A host comes from a config or a URL and may hold no quote; what is not a name is not sent.
        let name: String = host.chars().filter(|it| it.is_alphanumeric() || "-._:".contains(*it)).collect();
        let open = format!(
            "<?xml version='1.0'?><stream:stream to='{name}' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
        );
        self.send(open.as_bytes()).await?;
        let features = self.until("</stream:features>").await?;
        if !features.contains("<starttls") {
            return Err(refused("features without starttls"));
        }
        self.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
        let answer = self.until(">").await?;
        if answer.contains("<proceed") { Ok(()) } else { Err(refused(&answer)) }
    }

    async fn until(&mut self, end: &str) -> Result<String, Verdict> {
        loop {
            if let Some(at) = self.rest.windows(end.len()).position(|it| it == end.as_bytes()) {
                let said: Vec<u8> = self.rest.drain(..at + end.len()).collect();
                return Ok(String::from_utf8_lossy(&said).into_owned());
            }
            self.more().await?;
        }
    }
}

fn broken(error: &std::io::Error) -> Verdict {
    fail(Cause::Reset, "reset", format!("the server hung up before TLS: {error}"))
}

fn refused(answer: &str) -> Verdict {
    let shown = shorten(&sanitise::text(answer), SHOWN_MAX);
    fail(Cause::Tls, "no starttls", format!("the server does not go on in TLS: it answered `{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server must have heard, and what it says then.
    type Lines<'a> = &'a [(&'a [u8], &'a [u8])];

    /// Plays a server: what it says, and what it must have heard before it says it.
    async fn check(protocol: StartTls, lines: Lines<'_>) -> Result<(), String> {
        let (client, mut server) = tokio::io::duplex(4096);
        let mut stream: Stream = Box::new(client);
        let asking = protocol.ask(&mut stream, "chat.example");
        let answering = async {
            for (heard, said) in lines {
                let mut buffer = vec![0; heard.len()];
                server.read_exact(&mut buffer).await.expect("heard");
                assert_eq!(&buffer, heard);
                server.write_all(said).await.expect("said");
            }
        };
        let (asked, ()) = tokio::join!(asking, answering);
        asked.map_err(|(_, trouble)| trouble.text)
    }

    #[tokio::test]
    async fn every_protocol_is_asked_in_its_own_words() {
        let mut mysql = vec![10];
        mysql.extend(b"8.0\0");
        mysql.extend([0; 13]);
        mysql.extend(MYSQL_SSL.to_le_bytes());
        let greeting = [&[mysql.len() as u8, 0, 0, 0][..], &mysql].concat();
        let mut request = MYSQL_REQUEST.to_vec();
        request.resize(36, 0);
        let stream = "<?xml version='1.0'?><stream:stream to='chat.example' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
        let cases: &[(StartTls, Lines<'_>)] = &[
            (
                StartTls::Smtp,
                &[
                    (b"", b"220-one\r\n220 two\r\n"),
                    (b"EHLO hotseat\r\n", b"250-a\r\n250 STARTTLS\r\n"),
                    (b"STARTTLS\r\n", b"220 go\r\n"),
                ],
            ),
            (StartTls::Imap, &[(b"", b"* OK x\r\n"), (b"a1 STARTTLS\r\n", b"* 1 EXISTS\r\na1 OK go\r\n")]),
            (StartTls::Pop3, &[(b"", b"+OK x\r\n"), (b"STLS\r\n", b"+OK go\r\n")]),
            (StartTls::Ftp, &[(b"", b"220 x\r\n"), (b"AUTH TLS\r\n", b"234 go\r\n")]),
            (StartTls::Nntp, &[(b"", b"201 x\r\n"), (b"STARTTLS\r\n", b"382 go\r\n")]),
            (StartTls::Ldap, &[(LDAP_REQUEST, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")]),
            (StartTls::Postgres, &[(POSTGRES_REQUEST, b"S")]),
            (StartTls::Mysql, &[(b"", &greeting), (&request, b"")]),
            (
                StartTls::Xmpp,
                &[
                    (stream.as_bytes(), b"<stream:stream><stream:features><starttls/></stream:features>"),
                    (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"<proceed/>"),
                ],
            ),
        ];
        for (protocol, lines) in cases {
            assert_eq!(check(*protocol, lines).await, Ok(()), "{protocol:?}");
        }
        assert_eq!(cases.len(), WORDS.len());
    }

    #[tokio::test]
    async fn a_refusal_is_shown_and_words_before_tls_are_not_taken_for_words_in_it() {
        let lines: Lines<'_> = &[(b"", b"+OK x\r\n"), (b"STLS\r\n", b"-ERR no\r\n")];
        let wanted = "the server does not go on in TLS: it answered `-ERR no`";
        assert_eq!(check(StartTls::Pop3, lines).await, Err(wanted.into()));
        let lines: Lines<'_> = &[(b"", b"+OK x\r\n"), (b"STLS\r\n", b"+OK\r\n+OK injected\r\n")];
        let wanted = "the server said more before TLS than it was asked for";
        assert_eq!(check(StartTls::Pop3, lines).await, Err(wanted.into()));
    }
}
