//! `twilio = { … }`: an SMS to each recipient through Twilio's Messages resource (API of 2010-04-01).
//!
//! One POST each, side by side, so that one that hangs holds up nobody. Twilio has no idempotency key: who
//! has the message already is told to the outbox and left out of the next attempt, and the text ends with a
//! short id, by which a person tells a repeated SMS from a new one.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::alert::delivery::Delivery;
use crate::domain::alert::policy::lane::LISTED_MAX;
use crate::domain::alert::sms::{self, SEGMENTS_MAX};
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::http::{self, Call, Endpoint};
use crate::service::notify::{Attempt, Notifier, Receipt, RetryAfter, SendError, Sending, text};

/// Where Twilio is.
const BASE: &str = "https://api.twilio.com";
/// Segments of a message about few things when nothing is said: 459 plain characters, enough for three in words.
const SEGMENTS: usize = 3;
/// The first number of segments that is too many, as the config reads it.
const SEGMENTS_END: i64 = SEGMENTS_MAX as i64 + 1;
/// Recipients of one notifier: more is a mailing list, and each costs money.
const RECIPIENTS_MAX: usize = 20;

/// `twilio` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "twilio",
    summary: "SMS through Twilio, one to each recipient",
    example: "[[notifier]]\nname = \"sms\"\ntwilio = { account = \"AC0123456789abcdef0123456789abcdef\", token = \"${env:TWILIO_TOKEN}\", from = \"+15557654321\", to = [\"+15551230000\"] }\nlimit = \"5 / 10m\"\n",
    build,
};

/// Sends SMS.
#[derive(Debug, Clone, Hash)]
struct Twilio {
    endpoint: Arc<Endpoint>,
    authorization: String,
    /// `From` or `MessagingServiceSid`, and its value.
    sender: (&'static str, String),
    to: Vec<String>,
    /// As the config says, of every message.
    segments: Option<usize>,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    if !node.expect_table() {
        return None;
    }
    let account = node.require("account").and_then(|it| sid(&it, "AC", "the account's SID, as in the console"));
    let key = node.get("key").map(|it| sid(&it, "SK", "the SID of an API key; its secret is `token`"));
    let token = node.require("token").and_then(|it| it.secret());
    let sender = read_sender(node);
    let to = node.require("to").and_then(|it| read_recipients(&it));
    let segments = match node.get("segments") {
        Some(it) => it.integer(1..SEGMENTS_END).and_then(|it| usize::try_from(it).ok()).map(Some),
        None => Some(None),
    };
    let base = match node.get("url") {
        Some(it) => it.string().and_then(|text| http::read_url(&it, &text, false)),
        None => Url::parse(BASE).ok(),
    };
    let authorities = http::read_authorities(node);
    node.finish(&[]);
    let (account, token, mut url) = (account?, token?, base?);
    let user = key.map_or(Some(account.clone()), |it| it)?;
    url.set_path(&format!("{}/2010-04-01/Accounts/{account}/Messages.json", url.path().trim_end_matches('/')));
    let login = STANDARD.encode(format!("{user}:{token}"));
    let endpoint = Endpoint { authorities: authorities?, ..Endpoint::new(url, vec![token, login.clone()]) };
    Some(Box::new(Twilio {
        endpoint: Arc::new(endpoint),
        authorization: format!("Basic {login}"),
        sender: sender?,
        to: to?,
        segments: segments?,
    }))
}

fn sid(node: &Node<'_>, prefix: &str, what: &str) -> Option<String> {
    let text = node.string()?;
    if text.starts_with(prefix) && text.len() > prefix.len() && text.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return Some(text);
    }
    node.error_with_hint(format!("`{}` must begin with `{prefix}`", node.path()), format!("write {what}"));
    None
}

fn read_sender(node: &Node<'_>) -> Option<(&'static str, String)> {
    match (node.get("from"), node.get("service")) {
        (Some(from), None) => {
            let text = from.string()?;
            // A number, a short code, or a name of up to 11 characters.
            let is_name =
                !text.is_empty() && text.len() <= 11 && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b' ');
            if is_number(&text) || is_name {
                return Some(("From", text));
            }
            from.error_with_hint("`from` is no sender", "write a number of your account, as in `+15557654321`");
            None
        }
        (None, Some(service)) => {
            sid(&service, "MG", "the SID of a messaging service").map(|it| ("MessagingServiceSid", it))
        }
        (Some(_), Some(service)) => {
            service.error_with_hint("a message has one sender", "keep `from` or `service`");
            None
        }
        (None, None) => {
            node.error_with_hint("an SMS needs a sender", "add `from = \"+1…\"` or `service = \"MG…\"`");
            None
        }
    }
}

fn read_recipients(node: &Node<'_>) -> Option<Vec<String>> {
    let items = node.one_or_many();
    let numbers: Option<Vec<String>> = items
        .iter()
        .map(|it| {
            let text = it.string()?;
            if is_number(&text) {
                return Some(text);
            }
            it.error_with_hint(
                format!("`{}` is no phone number", sanitise::text(&text)),
                "write it with its country code and without blanks, as in `+15551230000`",
            );
            None
        })
        .collect();
    let mut numbers = numbers?;
    numbers.dedup();
    if numbers.is_empty() || numbers.len() > RECIPIENTS_MAX {
        node.error_with_hint(format!("`to` needs 1 to {RECIPIENTS_MAX} numbers"), "split it into several notifiers");
        return None;
    }
    Some(numbers)
}

/// True for a number in the form of E.164.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit()) && !digits.starts_with('0')
}

impl Notifier for Twilio {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let delivery = attempt.delivery;
            let body = self.body(delivery);
            let mut done: Vec<String> = self.to.iter().filter(|it| attempt.done.contains(it)).cloned().collect();
            // Dropped, it ends what is under way.
            let mut posts = JoinSet::new();
            for to in self.to.iter().filter(|it| !attempt.done.contains(it)) {
                posts.spawn(post(Arc::clone(&self.endpoint), self.call(to, &body), to.clone(), attempt.deadline));
            }
            let (mut receipt, mut errors) = (Receipt::default(), Vec::new());
            while let Some(joined) = posts.join_next().await {
                match joined {
                    Ok((to, Ok(id))) => {
                        done.push(to);
                        receipt.id = id.or(receipt.id);
                    }
                    Ok((to, Err(error))) => errors.push((to, error)),
                    // Only a panic; the others go on.
                    Err(error) => errors.push((String::new(), SendError::ambiguous(error.to_string()))),
                }
            }
            if errors.is_empty() {
                receipt.text = format!("{} of {} SMS queued by Twilio", done.len(), self.to.len());
                return Ok(receipt);
            }
            Err(summed_up(errors, done, self.to.len()))
        })
    }

    fn segments(&self) -> Option<usize> {
        Some(self.segments.unwrap_or(SEGMENTS_MAX))
    }

    fn describe(&self) -> String {
        format!("SMS to {}", self.to.join(", "))
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}

impl Twilio {
    fn body(&self, delivery: &Delivery) -> String {
        let (message, id) = (&delivery.message, text::short_id(&delivery.key));
        let is_storm = message.alerts.len() > LISTED_MAX;
        let segments = self.segments.unwrap_or(if is_storm { SEGMENTS_MAX } else { SEGMENTS });
        let whole = text::whole(message);
        let is_cut = !sms::fits(&whole, &id, segments);
        // What has no room there has been cut by name, and is told in a message of its own.
        sms::fit(message.brief.as_ref().filter(|_| is_cut).unwrap_or(&whole), &id, segments)
    }

    fn call(&self, to: &str, body: &str) -> Call {
        let mut form = self.endpoint.url.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("To", to)
            .append_pair(self.sender.0, &self.sender.1)
            .append_pair("Body", body);
        let form = form.query().unwrap_or_default().to_string();
        let mut call = Call::post(self.endpoint.url.clone(), "application/x-www-form-urlencoded", form);
        call.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        call.with_secret(AUTHORIZATION, &self.authorization)
    }
}

async fn post(
    endpoint: Arc<Endpoint>,
    call: Call,
    to: String,
    deadline: Instant,
) -> (String, Result<Option<String>, SendError>) {
    let sent = endpoint.send(call, deadline).await.map(|answer| {
        let json = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default();
        json.get("sid").and_then(|it| it.as_str()).map(|it| endpoint.clean(it))
    });
    (to, sent)
}

/// One error for all recipients: permanent when nobody else can be reached by trying again.
fn summed_up(mut errors: Vec<(String, SendError)>, done: Vec<String>, all: usize) -> SendError {
    errors.sort_by(|left, right| left.0.cmp(&right.0));
    let longest = |it: &RetryAfter| match it {
        RetryAfter::In(pause) => (0, pause.as_nanos(), 0),
        RetryAfter::At(at) => (1, 0, at.as_nanosecond()),
    };
    let retry_after = errors.iter().filter_map(|(_, it)| it.retry_after).max_by_key(longest);
    let mut texts: Vec<String> = errors.iter().map(|(to, it)| format!("{to}: {}", it.text)).collect();
    if errors.len() > 1 && errors.iter().all(|(_, it)| it.text == errors[0].1.text) {
        texts = vec![errors[0].1.text.clone()];
    }
    let reached = if done.is_empty() { String::new() } else { format!("{} of {all} reached; ", done.len()) };
    SendError {
        permanent: errors.iter().all(|(_, it)| it.permanent),
        retry_after,
        ambiguous: errors.iter().any(|(_, it)| it.ambiguous),
        text: format!("{reached}{}", texts.join("; ")),
        done,
    }
}
