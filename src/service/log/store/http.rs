//! Asks a store over HTTP on behalf of threads that wait: deadlines, retries, bounded answers.
//!
//! The engine's threads know no tokio. Each store has one thread with a runtime of its own, which ends with
//! the store; a thread that asks waits for the answer, or until nobody wants it any more.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use rustls::RootCertStore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::probe::expect::shorten;
use crate::domain::sanitise;
use crate::logstore::store::{Stop, StoreError};
use crate::service::probe::redact::redact;
use crate::service::trust;
use crate::service::veil::Veil;

/// Time for an answer, its retries included: a query over weeks takes long, a person waits no longer.
const DEADLINE: Duration = Duration::from_secs(30);
/// Time to connect: another network says so within seconds.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of one answer: 2,000 records of 16 kB.
pub const MAX_ANSWER_BYTES: usize = 32 << 20;
/// Tries of a request that the server was too busy for.
const MAX_TRIES: u32 = 4;
/// First pause before another try; doubled for each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// Requests that wait for the thread: more than there are views.
const MAX_WAITING: usize = 64;
/// How often it is asked whether somebody still waits.
const STOP_INTERVAL: Duration = Duration::from_millis(20);
/// What is still on the way when a store is closed (the end of a point in time) gets so long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Characters of a server's error that are shown.
const MAX_WORDS: usize = 240;

/// Something that must not be shown. Its `Debug` text tells two of them apart by nothing but their length.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Login {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Basic`.
    Basic(String, Secret),
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: ApiKey` (Elasticsearch).
    ApiKey(Secret),
}

/// Where and as whom to ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// Scheme, host, port and what stands before the API's own paths; without a user.
    pub url: Url,
    /// Who asks.
    pub login: Login,
    /// Sent along.
    pub headers: Vec<(&'static str, String)>,
    /// Trust these certificates and no others.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// Lies over what is said of it.
    pub veil: Veil,
}

impl Access {
    fn secrets(&self) -> Vec<String> {
        match &self.login {
            Login::None => Vec::new(),
            Login::Basic(_, secret) | Login::Bearer(secret) | Login::ApiKey(secret) => vec![secret.0.clone()],
        }
    }

    /// The URL for people.
    pub fn shown(&self) -> String {
        self.veil.text(&sanitise::text(self.url.as_str().trim_end_matches('/')))
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// `GET`, `POST`, `DELETE`.
    pub method: Method,
    /// Behind the store's URL, with a leading slash.
    pub path: String,
    /// Parameters of the URL.
    pub query: Vec<(&'static str, String)>,
    /// A JSON body.
    pub body: Option<String>,
}

impl Call {
    /// Asks for a path.
    pub fn get(path: impl Into<String>, query: Vec<(&'static str, String)>) -> Self {
        Self { method: Method::GET, path: path.into(), query, body: None }
    }

    /// Sends JSON to a path.
    pub fn post(path: impl Into<String>, query: Vec<(&'static str, String)>, body: Option<String>) -> Self {
        Self { method: Method::POST, path: path.into(), query, body }
    }
}

/// What a server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    retry_after: Option<Duration>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody waits for it any more.
    Stopped,
    /// It is larger than [`MAX_ANSWER_BYTES`].
    TooLarge,
    /// In words.
    Failed(String),
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Stopped => Self::Stopped,
            Trouble::TooLarge => Self::Failed("one record is larger than 32 MiB".into()),
            Trouble::Failed(why) => Self::Failed(why),
        }
    }
}

struct Job {
    call: Call,
    answer_tx: SyncSender<Result<Answer, Trouble>>,
    stopped: CancellationToken,
    deadline: Duration,
}

/// Asks one server.
pub struct HttpClient {
    access: Arc<Access>,
    jobs_tx: mpsc::Sender<Job>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpClient({})", self.access.shown())
    }
}

impl HttpClient {
    /// Starts the thread. Nothing is asked yet.
    pub fn new(access: Access) -> Self {
        let (jobs_tx, jobs_rx) = mpsc::channel(MAX_WAITING);
        let access = Arc::new(access);
        let its_access = access.clone();
        let spawned = std::thread::Builder::new().name("log-store".into()).spawn(move || serve(&its_access, jobs_rx));
        if let Err(error) = spawned {
            // Every call then says that nobody asks.
            tracing::error!("could not start asking {}: {error}", access.shown());
        }
        Self { access, jobs_tx }
    }

    /// Asks, and asks again while the server says that it is too busy.
    ///
    /// # Errors
    /// When there is no answer. An answer that is no success is one.
    pub fn call(&self, call: &Call, stop: &Stop) -> Result<Answer, Trouble> {
        let until = clock::monotonic() + DEADLINE;
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let answer = self.call_once(call, stop, until)?;
            let is_busy = matches!(answer.status, 429 | 502 | 503 | 504);
            let wait = answer.retry_after.unwrap_or(pause).min(MAX_PAUSE);
            if !is_busy || tries >= MAX_TRIES || clock::monotonic() + wait >= until {
                return Ok(answer);
            }
            rest(wait, stop)?;
            pause *= 2;
            tries += 1;
        }
    }

    fn call_once(&self, call: &Call, stop: &Stop, until: Instant) -> Result<Answer, Trouble> {
        let (answer_tx, answer_rx) = sync_channel(1);
        let stopped = CancellationToken::new();
        let _guard = stopped.clone().drop_guard();
        let deadline = until.saturating_duration_since(clock::monotonic());
        let job = Job { call: call.clone(), answer_tx, stopped, deadline };
        self.jobs_tx.try_send(job).map_err(|_| Trouble::Failed("too many requests wait for an answer".into()))?;
        loop {
            match answer_rx.recv_timeout(STOP_INTERVAL) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(Trouble::Stopped),
                Err(RecvTimeoutError::Timeout) if stop.is_wanted() => return Err(Trouble::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Says something without waiting for an answer.
    pub fn tell(&self, call: Call) {
        let (answer_tx, _) = sync_channel(1);
        let job = Job { call, answer_tx, stopped: CancellationToken::new(), deadline: LAST_WORDS };
        // Nothing depends on it: what is not closed now is closed by the server later.
        let _ = self.jobs_tx.try_send(job);
    }

    /// The words of an answer that is no success.
    pub fn refusal(&self, answer: &Answer) -> String {
        let what = match answer.status {
            401 => "the store wants other credentials (401)".to_string(),
            403 => "the store does not allow it (403)".to_string(),
            429 => "the store is too busy (429)".to_string(),
            status => format!("the store answered {status}"),
        };
        let why = reason(&answer.body);
        self.clean(&if why.is_empty() { what } else { format!("{what}: {why}") })
    }

    /// The words of an answer that is not what it should be; `error` may quote it.
    pub fn misread(&self, wanted: &str, error: &serde_json::Error) -> String {
        self.clean(&format!("the store's answer is not that of {wanted}: {error}"))
    }

    /// Without secrets, harmless and short.
    fn clean(&self, text: &str) -> String {
        clean(text, &self.access.secrets(), &self.access.veil)
    }
}

/// Without secrets, harmless and short.
fn clean(text: &str, secrets: &[String], veil: &Veil) -> String {
    shorten(&sanitise::text(&redact(&veil.text(text), secrets)), MAX_WORDS)
}

/// Waits before another try.
fn rest(pause: Duration, stop: &Stop) -> Result<(), Trouble> {
    let until = clock::monotonic() + pause;
    loop {
        if stop.is_wanted() {
            return Err(Trouble::Stopped);
        }
        let left = until.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(STOP_INTERVAL));
    }
}

/// What an error's body says: a line of text, or the reason in a JSON object.
fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let found = json.as_ref().and_then(|it| {
        ["/error/root_cause/0/reason", "/error/reason", "/error", "/message"]
            .iter()
            .find_map(|pointer| it.pointer(pointer)?.as_str().filter(|it| !it.is_empty()))
    });
    match (found, &json) {
        (Some(found), _) => found.to_string(),
        (None, Some(_)) => String::new(),
        // A page of a proxy says nothing that helps.
        (None, None) if text.trim_start().starts_with('<') => String::new(),
        (None, None) => text.lines().next().unwrap_or_default().trim().to_string(),
    }
}

fn serve(access: &Access, mut jobs_rx: mpsc::Receiver<Job>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("could not start asking {}: {error}", access.shown());
            return;
        }
    };
    runtime.block_on(async {
        let client = match client(access) {
            Ok(client) => client,
            Err(why) => {
                while let Some(job) = jobs_rx.recv().await {
                    let _ = job.answer_tx.try_send(Err(Trouble::Failed(why.clone())));
                }
                return;
            }
        };
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                job = jobs_rx.recv() => match job {
                    Some(job) => {
                        running.spawn(run(client.clone(), access.url.clone(), (access.secrets(), access.veil.clone()), job));
                    }
                    None => break,
                },
                Some(_) = running.join_next() => {}
            }
        }
        let _ = tokio::time::timeout(LAST_WORDS, async { while running.join_next().await.is_some() {} }).await;
    });
}

fn client(access: &Access) -> Result<Client, String> {
    let mut headers = HeaderMap::new();
    let bad = |what: &str| format!("{what} cannot stand in a header");
    for (name, value) in &access.headers {
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| bad(&format!("`{name}`")))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    let login = match &access.login {
        Login::None => None,
        Login::Basic(user, secret) => Some(format!("Basic {}", STANDARD.encode(format!("{user}:{}", secret.0)))),
        Login::Bearer(secret) => Some(format!("Bearer {}", secret.0)),
        Login::ApiKey(secret) => Some(format!("ApiKey {}", secret.0)),
    };
    if let Some(login) = login {
        let mut value = HeaderValue::try_from(login).map_err(|_| bad("the password or token"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let roots = match &access.authorities {
        Some(own) => trust::only(own)?,
        None if access.url.scheme() == "https" => {
            trust::host().map_err(|error| format!("could not read the trusted certificates: {error}"))?
        }
        None => Arc::new(RootCertStore::empty()),
    };
    trust::http(roots, CONNECT_DEADLINE)?.default_headers(headers).build().map_err(|error| chain(&error))
}

async fn run(client: Client, url: Url, (secrets, veil): (Vec<String>, Veil), job: Job) {
    let work = async {
        match tokio::time::timeout(job.deadline, ask(&client, &url, &job.call)).await {
            Ok(answer) => answer,
            Err(_) => Err(Trouble::Failed(format!("no answer within {} s", job.deadline.as_secs().max(1)))),
        }
    };
    let answer = tokio::select! {
        answer = work => answer,
        () = job.stopped.cancelled() => return,
    };
    let answer = answer.map_err(|trouble| match trouble {
        Trouble::Failed(why) => Trouble::Failed(clean(&why, &secrets, &veil)),
        other => other,
    });
    // Whoever asked may have stopped waiting.
    let _ = job.answer_tx.try_send(answer);
}

async fn ask(client: &Client, url: &Url, call: &Call) -> Result<Answer, Trouble> {
    let failed = |error: reqwest::Error| Trouble::Failed(words(error, url));
    let mut target = url.clone();
    target.set_path(&format!("{}{}", url.path().trim_end_matches('/'), call.path));
    if !call.query.is_empty() {
        target.query_pairs_mut().extend_pairs(&call.query);
    }
    let mut request = client.request(call.method.clone(), target);
    if let Some(body) = &call.body {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
    }
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, retry_after: after.map(Duration::from_secs), body })
}

/// Why nothing was answered, in words for one line.
fn words(error: reqwest::Error, url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    if error.is_timeout() {
        return format!("{host} does not answer");
    }
    let is_connect = error.is_connect();
    let cause = chain(&error.without_url());
    let lower = cause.to_ascii_lowercase();
    if lower.contains("dns error") || lower.contains("failed to lookup address") {
        return format!("could not resolve `{host}`");
    }
    if lower.contains("connection refused") {
        let port = url.port_or_known_default().unwrap_or_default();
        return format!("nothing listens on {host}:{port}");
    }
    if is_connect { format!("could not connect to {host}: {cause}") } else { format!("{host} broke off: {cause}") }
}

/// The innermost cause says what happened; those around it say where.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_error_is_found() {
        let check = |body: &str, expected: &str| assert_eq!(reason(body.as_bytes()), expected, "{body}");
        check("parse error at line 1, col 2\nmore", "parse error at line 1, col 2");
        check(
            r#"{"error":{"root_cause":[{"reason":"no such index [x]"}],"reason":"y"},"status":404}"#,
            "no such index [x]",
        );
        check(r#"{"error":"Incorrect HTTP method"}"#, "Incorrect HTTP method");
        check("<html><body>Bad Gateway</body></html>", "");
        check("", "");
    }

    #[test]
    fn a_secret_is_not_in_a_refusal_nor_in_debug_text() {
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        let login = Login::Basic("me".into(), Secret("hunter22".into()));
        let access = Access { url, login, headers: Vec::new(), authorities: None, veil: Veil::default() };
        assert!(!format!("{access:?}").contains("hunter22"));
        let client = HttpClient::new(access);
        let answer = Answer { status: 401, retry_after: None, body: b"wrong password hunter22 for me".to_vec() };
        assert_eq!(client.refusal(&answer), "the store wants other credentials (401): wrong password *** for me");
        let quoted = format!("\"hunter22 {}\"", "x".repeat(5000));
        let said = client.misread("a count", &serde_json::from_str::<u64>(&quoted).unwrap_err());
        assert!(
            said.starts_with("the store's answer is not that of a count: invalid type: string \"*** xxx"),
            "{said}"
        );
        assert!(said.chars().count() <= MAX_WORDS + 1, "{}", said.len());
    }

    #[test]
    fn a_closed_port_is_told_in_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = Url::parse(&format!("http://{address}/")).unwrap();
        let client = HttpClient::new(Access {
            url,
            login: Login::None,
            headers: Vec::new(),
            authorities: None,
            veil: Veil::default(),
        });
        let trouble = client.call(&Call::get("/x", Vec::new()), &Stop::default()).unwrap_err();
        assert_eq!(trouble, Trouble::Failed(format!("nothing listens on {address}")));
    }
}
