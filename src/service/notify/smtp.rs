//! `smtp = { … }`: an e-mail through a mail server.
//!
//! The Message-ID comes from the delivery, so that a message sent twice is one to a server that looks; all
//! messages about one alert refer to the same root, so that mail programs show them as one thread.

use std::hash::{Hash, Hasher};
use std::time::SystemTime;

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::clock;
use crate::domain::alert::delivery::{Delivery, Message as Told};
use crate::domain::alert::names;
use crate::domain::probe::expect::shorten;
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Authorities};
use crate::service::notify::{Attempt, Notifier, Receipt, SendError, Sending, text};
use crate::service::probe::redact::redact;

/// Characters of a subject: with its name it is one line of a header, which is folded after 76 (RFC 2047).
const SUBJECT_MAX: usize = 66;
/// Bytes of a text: a digest of a thousand probes fits.
const TEXT_MAX: usize = 256 << 10;
/// Characters of a server's words that are kept.
const WORDS_MAX: usize = 240;
/// Recipients of one notifier: a mailing list is one address.
const RECIPIENTS_MAX: usize = 50;

/// `smtp` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "smtp",
    summary: "e-mail through a mail server, with TLS, STARTTLS, or plain on this host",
    example: "[[notifier]]\nname = \"mail\"\nsmtp = { host = \"mail.example.com\", tls = \"starttls\", user = \"hotseat\", password = \"${env:SMTP_PASSWORD}\", from = \"hotseat@example.com\", to = [\"oncall@example.com\"] }\n",
    build,
};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Protection {
    /// TLS from the first byte (port 465).
    Tls,
    /// TLS after a word in the clear (port 587), and nothing without it.
    StartTls,
    /// None (port 25).
    None,
}

/// Sends mail.
#[derive(Debug, Clone, Hash)]
struct Smtp {
    host: String,
    port: u16,
    protection: Protection,
    login: Option<(String, String)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    authorities: Authorities,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    if !node.expect_table() {
        return None;
    }
    let host = node.require("host").and_then(|it| read_host(&it));
    let words = [("tls", Protection::Tls), ("starttls", Protection::StartTls), ("none", Protection::None)];
    let protection_at = node.get("tls");
    let protection = protection_at.as_ref().map_or(Some(Protection::Tls), |it| it.one_of(&words));
    let port = node.get("port").map(|it| it.integer(1..65_536).and_then(|it| u16::try_from(it).ok()));
    let (user, password) = (node.get("user"), node.get("password"));
    let login = match (&user, &password) {
        (Some(user), Some(password)) => Some((user.string(), password.secret())),
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => {
            only.error_with_hint("`user` and `password` go together", "write both, or neither");
            Some((None, None))
        }
    };
    let from = node.require("from").and_then(|it| mailbox(&it));
    let to = node.require("to").and_then(|it| {
        let items = it.one_or_many();
        if items.is_empty() || items.len() > RECIPIENTS_MAX {
            it.error_with_hint(format!("`to` needs 1 to {RECIPIENTS_MAX} addresses"), "use the address of a list");
            return None;
        }
        items.iter().map(mailbox).collect::<Option<Vec<_>>>()
    });
    let authorities = http::read_authorities(node);
    node.finish(&[]);
    let (host, protection) = (host?, protection?);
    if protection == Protection::None && !http::is_loopback(&host) {
        let at = protection_at.as_ref().unwrap_or(node);
        at.error_with_hint(
            "mail to another host must not travel in the clear",
            "write `tls = \"starttls\"` or `tls = \"tls\"`; `none` is for a server on this host",
        );
        return None;
    }
    let usual = match protection {
        Protection::Tls => 465,
        Protection::StartTls => 587,
        Protection::None => 25,
    };
    let login = match login {
        None => None,
        Some((user, password)) => Some((user?, password?)),
    };
    let port = port.map_or(Some(usual), |it| it)?;
    Some(Box::new(Smtp { host, port, protection, login, from: from?, to: to?, authorities: authorities? }))
}

fn read_host(node: &Node<'_>) -> Option<String> {
    let host = node.string()?;
    if host.is_empty() || host.chars().any(|it| it.is_whitespace() || it.is_control() || "/@".contains(it)) {
        node.error_with_hint("`host` must be the name of a mail server", "write it as in `mail.example.com`");
        return None;
    }
    Some(host)
}

fn mailbox(node: &Node<'_>) -> Option<Mailbox> {
    let text = node.string()?;
    match text.parse() {
        Ok(mailbox) => Some(mailbox),
        Err(_) => {
            node.error_with_hint(
                format!("`{}` is no address", sanitise::text(&text)),
                "write it as in `oncall@example.com` or `On call <oncall@example.com>`",
            );
            None
        }
    }
}

impl Notifier for Smtp {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let mail = self.mail(attempt.delivery)?;
            let left = |it: &&Mailbox| !attempt.done.contains(&it.email.to_string());
            let to: Vec<Address> = self.to.iter().filter(left).map(|it| it.email.clone()).collect();
            let mut done: Vec<String> = attempt.done.to_vec();
            let refused = match self.hand_over(&mail, to.clone(), attempt.deadline).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => error,
            };
            if !refused.permanent || to.len() < 2 {
                return Err(SendError { done, ..refused });
            }
            // One address that the server refuses must not keep the mail from the others.
            let mut last = None;
            let mut errors: Vec<SendError> = Vec::new();
            for address in to {
                match self.hand_over(&mail, vec![address.clone()], attempt.deadline).await {
                    Ok(receipt) => {
                        done.push(address.to_string());
                        last = Some(receipt);
                    }
                    Err(error) => errors.push(SendError { text: format!("{address}: {}", error.text), ..error }),
                }
            }
            match (errors.is_empty(), last) {
                (true, Some(receipt)) => Ok(receipt),
                _ => Err(SendError {
                    permanent: errors.iter().all(|it| it.permanent),
                    ambiguous: errors.iter().any(|it| it.ambiguous),
                    retry_after: None,
                    text: errors.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join("; "),
                    done,
                }),
            }
        })
    }

    fn describe(&self) -> String {
        let to: Vec<String> = self.to.iter().map(|it| it.email.to_string()).collect();
        format!("mail to {} by {}", to.join(", "), self.host)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl Smtp {
    fn mail(&self, delivery: &Delivery) -> Result<Message, SendError> {
        let message = &delivery.message;
        let domain: String =
            message.host.chars().filter(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '.')).collect();
        let id = |of: &str| {
            let digest = Sha256::digest(of.as_bytes());
            let hex: String = digest.iter().take(16).map(|it| format!("{it:02x}")).collect();
            format!("<{hex}@{}.hotseat>", if domain.is_empty() { "host" } else { &domain })
        };
        let mut mail: MessageBuilder = Message::builder()
            .from(self.from.clone())
            .subject(subject(message))
            .date(SystemTime::from(clock::now()))
            .message_id(Some(id(&delivery.id)))
            // No out-of-office reply, please (RFC 3834).
            .raw_header(raw("Auto-Submitted", "auto-generated")?)
            .raw_header(raw("X-Hotseat-Action", delivery.action.word())?);
        // A reply to a mail that was never sent is shown as one whose beginning was lost.
        if let Some(first) = &delivery.follows {
            mail = mail.in_reply_to(id(first)).references(id(first));
        }
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let body = format!("{}\n", text::cut_bytes(&body(message), TEXT_MAX));
        mail.header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|error| SendError::permanent(self.clean(&format!("could not write the mail: {error}"))))
    }

    async fn hand_over(&self, mail: &Message, to: Vec<Address>, deadline: Instant) -> Result<Receipt, SendError> {
        let envelope = Envelope::new(Some(self.from.email.clone()), to)
            .map_err(|error| SendError::permanent(self.clean(&format!("could not address the mail: {error}"))))?;
        let transport = self.transport(deadline).map_err(|error| self.trouble(&error))?;
        let raw = mail.formatted();
        match tokio::time::timeout_at(deadline, transport.send_raw(&envelope, &raw)).await {
            Ok(Ok(response)) => {
                let words: Vec<&str> = response.message().collect();
                let said = self.clean(&words.join(" "));
                Ok(Receipt { id: None, text: format!("{} answered {} {said}", self.host, response.code()) })
            }
            Ok(Err(error)) => Err(self.trouble(&error)),
            Err(_) => Err(SendError::ambiguous(format!("{} did not answer in time", self.host))),
        }
    }

    fn transport(&self, deadline: Instant) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
        let tls = match self.protection {
            Protection::None => Tls::None,
            Protection::Tls => Tls::Wrapper(self.tls()?),
            Protection::StartTls => Tls::Required(self.tls()?),
        };
        let left = deadline.saturating_duration_since(clock::timer());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host as &str)
            .port(self.port)
            .tls(tls)
            .timeout(Some(left))
            .hello_name(ClientId::Domain(client_name()));
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(builder.build())
    }

    fn tls(&self) -> Result<TlsParameters, Error> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(own) = &self.authorities {
            builder = builder.certificate_store(CertificateStore::None);
            for certificate in own {
                builder = builder.add_root_certificate(Certificate::from_der(certificate.clone())?);
            }
        } else {
            // The host's own roots beside those of Mozilla; one that cannot be read is left out.
            for certificate in rustls_native_certs::load_native_certs().certs {
                if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
                    builder = builder.add_root_certificate(certificate);
                }
            }
        }
        builder.build_rustls()
    }

    fn trouble(&self, error: &Error) -> SendError {
        let cause = http::innermost(error);
        // Only an answer says that the mail was not taken, and a failure before the conversation began.
        let before = error.is_tls() || error.is_client() || format!("{error:?}").contains("Connection");
        let text = match error.status() {
            Some(code) => format!("{} answered {code}: {cause}", self.host),
            None if error.is_timeout() => format!("{} did not answer in time", self.host),
            None if before => http::unconnected(&self.host, self.port, &cause),
            None => format!("{}:{}: {cause}", self.host, self.port),
        };
        SendError {
            permanent: error.is_permanent(),
            ambiguous: error.status().is_none() && !before,
            text: self.clean(&text),
            ..SendError::default()
        }
    }

    fn clean(&self, text: &str) -> String {
        let secrets: Vec<String> = self.login.iter().map(|(_, password)| password.clone()).collect();
        shorten(sanitise::text(&redact(text, &secrets)).trim(), WORDS_MAX)
    }
}

/// The title where it is short; else what the list of mails is read for: how many, and which as far as there is room.
fn subject(message: &Told) -> String {
    let title = sanitise::text(&message.title);
    if title.chars().count() <= SUBJECT_MAX {
        return title;
    }
    let head = text::head(message).map(|it| sanitise::text(&it));
    let Some(head) = head.filter(|it| it.chars().count() <= SUBJECT_MAX) else { return cut(&title) };
    let names = names::ranges(message.alerts.iter().filter_map(|it| names::probe(it).map(sanitise::text)));
    let with = |shown: usize| {
        let listed: Vec<&str> = names.iter().take(shown).map(|it| it.text.as_str()).collect();
        let missing: usize = names.iter().skip(shown).map(|it| it.count).sum();
        let more = if missing > 0 { format!(" and {missing} more") } else { String::new() };
        format!("{head}: {}{more}", listed.join(", "))
    };
    let fitting = (1..=names.len()).rev().map(with).find(|it| it.chars().count() <= SUBJECT_MAX);
    fitting.unwrap_or(head)
}

/// Cuts with plain characters: one `…` makes the whole subject an encoded word, which few can read in a log.
fn cut(title: &str) -> String {
    let short = text::cut_chars(title, SUBJECT_MAX - 2);
    format!("{}...", short.trim_end_matches('…').trim_end())
}

/// What is down comes first: of several things the count is in the subject, and not said again.
fn body(message: &Told) -> String {
    if text::head(message).is_some() { text::body(message) } else { text::whole(message) }
}

fn raw(name: &'static str, value: &str) -> Result<HeaderValue, SendError> {
    let name = HeaderName::new_from_ascii(name.to_string())
        .map_err(|error| SendError::permanent(format!("could not write the mail: {error}")))?;
    Ok(HeaderValue::new(name, value.to_string()))
}

/// What this host calls itself to a mail server: its name where that can stand in a greeting.
fn client_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_good = !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.'));
    if is_good { name } else { "localhost".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::delivery::Action;
    use crate::service::notify::sample;

    fn told(title: &str, text: &str, names: &[&str]) -> Told {
        let mut message = sample::delivery(Action::Trigger).message;
        let line = message.alerts.remove(0);
        let named = |name: &&str| crate::domain::alert::delivery::AlertLine {
            subject: format!("host/{name}"),
            labels: std::iter::once(("host".to_string(), "host".to_string())).collect(),
            ..line.clone()
        };
        Told { title: title.into(), text: text.into(), alerts: names.iter().map(named).collect(), ..message }
    }

    #[test]
    fn a_short_title_is_the_subject_and_a_long_one_is_cut_in_plain_characters() {
        let short = "api DOWN since 14:43:52: timeout in connect";
        assert_eq!(subject(&told(short, short, &["api"])), short);
        let long = format!("{short}: no answer to the connection within five seconds");
        let subject = subject(&told(&long, &format!("{long}\nsince: then"), &["api"]));
        assert_eq!(subject, "api DOWN since 14:43:52: timeout in connect: no answer to the c...");
        assert_eq!(subject.len(), SUBJECT_MAX);
    }

    #[test]
    fn two_alerts_are_counted_and_named_in_one_line_and_the_text_begins_with_the_first() {
        let parts = ["api DOWN since 14:43:52: timeout in connect", "db DOWN since 14:43:58: refused: nothing listens"];
        let title = format!("2 probes DOWN: {}", parts.join("; "));
        let message = told(&title, &format!("2 probes DOWN\n\n{}", parts.join("\n\n")), &["api", "db"]);
        assert_eq!(subject(&message), "2 probes DOWN: api, db");
        assert_eq!(body(&message), parts.join("\n\n"));
    }

    #[test]
    fn names_that_find_no_room_are_counted() {
        let names = ["a-name-of-twenty-five-ch-a", "another-name-of-thirty-chars-b", "a-third-name"];
        let title = format!("3 probes DOWN: {}", names.join("; "));
        let message = told(&title, "3 probes DOWN\n\na\n\nb\n\nc", &names);
        assert_eq!(subject(&message), "3 probes DOWN: a-name-of-twenty-five-ch-a, a-third-name and 1 more");
        let message = told(&title, "3 probes DOWN\n\na", &["x".repeat(80).as_str()]);
        assert_eq!(subject(&message), "3 probes DOWN");
    }
}
