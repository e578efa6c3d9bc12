//! Takes beats in: by a unix socket in the state directory, and by HTTP where the config says so.
//!
//! A beat is on disk before it is answered. Whoever gets no `ok` appends it to the file itself, and what the
//! sender's id shows to be the same counts once: no beat is lost and none counts twice. The kernel says when a
//! file of beats has changed, so that its probe looks at once; where it does not say so, at the next run.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock;
use crate::domain::probe::heartbeat::{Beat, OUTPUT_MAX, Signal};
use crate::registry::node::Node;
use crate::service::probe::Prober;
use crate::service::probe::heartbeat::file;
use crate::service::{ServiceSetup, http_door};

/// The socket in the state directory.
pub const SOCKET: &str = "beat.sock";
/// Senders at a time; each holds a connection and at most 64 KiB. More wait in the kernel's queue.
const SENDERS_MAX: usize = 32;
/// A sender gets so long for the whole of it: its message is small and on its way.
const SENDER_MAX: Duration = Duration::from_secs(10);
/// Bytes of a message on the socket: the output, which JSON may make six times longer, and a name.
const MESSAGE_MAX: u64 = (6 * OUTPUT_MAX + (8 << 10)) as u64;
/// Changed files that wait to be looked at; what is more is seen at the next run.
const CHANGES_MAX: usize = 64;
/// Shortest token: what is shorter can be tried out.
const TOKEN_MIN: usize = 16;

/// What is said on the socket: one of these in JSON, then the end. The answer is `ok` or what is wrong.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    /// The heartbeat.
    pub name: String,
    /// What came.
    pub beat: Beat,
}

/// `[beat]`: where beats are taken by HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where to listen.
    pub address: SocketAddr,
    // Never shown.
    token: String,
}

/// Reads `[beat]`. Mistakes are reported through the node.
pub fn read_listen(node: &Node<'_>) -> Option<Listen> {
    let address = node.require("listen").and_then(|it| {
        let text = it.string()?;
        let address = text.parse::<SocketAddr>().ok();
        if address.is_none() {
            it.error_with_hint(
                format!("`{}` is no address and port", crate::domain::sanitise::text(&text)),
                "write an address of this host and a port, as in `127.0.0.1:8123`",
            );
        }
        address
    });
    let token = node.require("token").and_then(|it| {
        let token = it.string()?;
        let is_good = token.len() >= TOKEN_MIN && token.bytes().all(|it| it.is_ascii_graphic());
        if !is_good {
            it.error_with_hint(
                format!("`token` must have at least {TOKEN_MIN} printable ASCII characters and no blanks"),
                "make one with `openssl rand -hex 16` and write `token = \"${file:/path}\"`",
            );
        }
        is_good.then_some(token)
    });
    node.finish(&[]);
    Some(Listen { address: address?, token: token? })
}

/// Takes beats in until the setup's `cancel`.
pub struct BeatServer {
    desk: Arc<Desk>,
    http: Mutex<Option<(Listen, CancellationToken)>>,
    cancel: CancellationToken,
}

/// What every way in shares.
struct Desk {
    state_dir: PathBuf,
    prober: Prober,
    turns: Arc<Semaphore>,
}

impl BeatServer {
    /// Starts. Must be called on a tokio runtime, by the one who holds the state directory.
    pub fn start(setup: &ServiceSetup, prober: &Prober, listen: Option<Listen>) -> Self {
        let turns = Arc::new(Semaphore::new(SENDERS_MAX));
        let desk = Arc::new(Desk { state_dir: setup.state_dir.clone(), prober: prober.clone(), turns });
        let cancel = setup.cancel.clone();
        tokio::spawn(Arc::clone(&desk).take_from_socket(cancel.clone()));
        tokio::spawn(Arc::clone(&desk).pass_on_changes(cancel.clone()));
        let server = Self { desk, http: Mutex::default(), cancel };
        server.reload(listen);
        server
    }

    /// Listens where a changed config says.
    pub fn reload(&self, listen: Option<Listen>) {
        let mut http = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        if http.as_ref().map(|it| &it.0) == listen.as_ref() {
            return;
        }
        if let Some((_, cancel)) = http.take() {
            cancel.cancel();
        }
        if let Some(listen) = listen {
            let cancel = self.cancel.child_token();
            tokio::spawn(Arc::clone(&self.desk).take_from_http(listen.clone(), cancel.clone()));
            *http = Some((listen, cancel));
        }
    }
}

impl Desk {
    /// Puts a beat on disk; its times are ours, because all times of a heartbeat must be of the same clocks.
    async fn take(&self, name: &str, mut beat: Beat) -> Result<(), Refusal> {
        if !self.prober.has_heartbeat(name) {
            return Err(Refusal::Unknown);
        }
        (beat.at, beat.boot) = (clock::now(), file::boot_time());
        beat.text = file::output(beat.text.as_bytes());
        let (state_dir, name) = (self.state_dir.clone(), name.to_string());
        match tokio::task::spawn_blocking(move || file::append(&state_dir, &name, &beat)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refusal::NotKept(error.to_string())),
            Err(_) => Err(Refusal::NotKept("a bug in hotseat".into())),
        }
    }

    async fn take_from_socket(self: Arc<Self>, cancel: CancellationToken) {
        let path = self.state_dir.join(SOCKET);
        let listener = match bind(&path) {
            Ok(listener) => listener,
            // Beats still come: the sender appends them to the file itself.
            Err(error) => return tracing::warn!(%error, "could not listen on {}", path.display()),
        };
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let desk = Arc::clone(&self);
            tokio::spawn(async move {
                // The semaphore is never closed.
                let _turn = desk.turns.acquire().await;
                let _ = tokio::time::timeout(SENDER_MAX, desk.converse(stream)).await;
            });
        }
        // Gone before the lock is: the next runtime makes its own.
        let _ = fs::remove_file(&path);
    }

    async fn converse(&self, mut stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?.uid();
        if peer != 0 && peer != rustix::process::geteuid().as_raw() {
            return stream.write_all(b"beats of another user are not taken\n").await;
        }
        let mut bytes = Vec::new();
        (&mut stream).take(MESSAGE_MAX + 1).read_to_end(&mut bytes).await?;
        let answer = match serde_json::from_slice::<Message>(&bytes) {
            Err(_) => "this is no beat".to_string(),
            Ok(message) => match self.take(&message.name, message.beat).await {
                Ok(()) => "ok".to_string(),
                Err(refusal) => refusal.words(),
            },
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await
    }

    /// Has a heartbeat looked at whenever its file has changed.
    async fn pass_on_changes(self: Arc<Self>, cancel: CancellationToken) {
        let (changes_tx, mut changes_rx) = mpsc::channel(CHANGES_MAX);
        let _watcher = match watch(&self.state_dir.join(file::DIRECTORY), changes_tx) {
            Ok(watcher) => watcher,
            Err(error) => return tracing::warn!(%error, "could not watch for beats"),
        };
        loop {
            let changed = tokio::select! {
                () = cancel.cancelled() => return,
                changed = changes_rx.recv() => changed,
            };
            let Some(changed) = changed else { return };
            self.prober.beat_came(|name| file::file_name(name) == changed);
        }
    }

    async fn take_from_http(self: Arc<Self>, listen: Listen, cancel: CancellationToken) {
        let listener = match TcpListener::bind(listen.address).await {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "could not take beats on {}", listen.address),
        };
        let (turns, listen) = (Arc::clone(&self.turns), Arc::new(listen));
        let answer = move |request| {
            let (desk, listen) = (Arc::clone(&self), Arc::clone(&listen));
            async move { desk.answer(&listen, request).await }
        };
        http_door::serve(listener, turns, SENDER_MAX, cancel, answer).await;
    }

    async fn answer(&self, listen: &Listen, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, words) = match self.answer_to(listen, request).await {
            Ok(()) => (StatusCode::OK, "ok".to_string()),
            Err(refusal) => (refusal.status(), refusal.words()),
        };
        let mut response = Response::new(Full::new(Bytes::from(words + "\n")));
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, hyper::header::HeaderValue::from_static("Bearer"));
        }
        Ok(response)
    }

    async fn answer_to(&self, listen: &Listen, request: Request<Incoming>) -> Result<(), Refusal> {
        let given = request.headers().get(AUTHORIZATION).map_or(&b""[..], |it| it.as_bytes());
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        // Before everything else, so that nobody without a token learns which names there are.
        if !is_same(given, listen.token.as_bytes()) {
            return Err(Refusal::Stranger);
        }
        if !matches!(*request.method(), Method::POST | Method::PUT | Method::GET) {
            return Err(Refusal::Method);
        }
        let (name, signal) = read_path(request.uri().path()).ok_or(Refusal::Unknown)?;
        let mut body = request.into_body();
        let mut text = Vec::new();
        while text.len() < OUTPUT_MAX {
            match body.frame().await {
                Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().map_or(&[], |it| it.as_ref())),
                // A sender that broke off has said that it is there.
                Some(Err(_)) | None => break,
            }
        }
        let id = Uuid::now_v7().to_string();
        let beat = Beat { id, at: clock::now(), boot: file::boot_time(), signal, text: file::output(&text) };
        self.take(&name, beat).await
    }
}

/// `/beat/NAME`, and behind it `/start`, `/fail` or an exit code.
fn read_path(path: &str) -> Option<(String, Signal)> {
    let (name, rest) = match path.strip_prefix("/beat/")?.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path.strip_prefix("/beat/")?, None),
    };
    let signal = match rest {
        None | Some("") => Signal::Success,
        Some("start") => Signal::Start,
        Some("fail") => Signal::Fail,
        Some(code) => Signal::Exit(code.parse::<u8>().ok()?.into()),
    };
    Some((decode(name)?, signal))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

/// Compares without telling by its time how much is right: hashes have one length and nothing to guess from.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.iter().zip(other.iter()).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}

/// Why a beat was not taken.
enum Refusal {
    Stranger,
    Method,
    Unknown,
    NotKept(String),
}

impl Refusal {
    fn words(&self) -> String {
        match self {
            Self::Stranger => "the token is missing or wrong".into(),
            Self::Method => "send a beat with POST, PUT or GET".into(),
            Self::Unknown => "there is no such heartbeat".into(),
            Self::NotKept(why) => format!("the beat could not be kept: {why}"),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::NotKept(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Left by a runtime that was killed: who holds the state directory is alone.
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn watch(directory: &Path, changes_tx: mpsc::Sender<String>) -> notify::Result<RecommendedWatcher> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        for name in event.paths.iter().filter_map(|it| it.file_name()?.to_str()) {
            // Without room it is seen at the next run.
            let _ = changes_tx.try_send(name.to_string());
        }
    })?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_heartbeat_and_what_it_reports() {
        let read = |path| read_path(path).map(|(name, signal)| format!("{name} {signal:?}"));
        assert_eq!(read("/beat/nightly%20b").as_deref(), Some("nightly b Success"));
        assert_eq!(read("/beat/a/start").as_deref(), Some("a Start"));
        assert_eq!(read("/beat/a/fail").as_deref(), Some("a Fail"));
        assert_eq!(read("/beat/a/3").as_deref(), Some("a Exit(3)"));
        assert_eq!(
            (read("/beat/a/256"), read("/beat/a/b/c"), read("/x/a"), read("/beat/%f")),
            (None, None, None, None)
        );
    }

    #[test]
    fn only_the_same_token_is_the_same() {
        assert!(is_same(b"0123456789abcdef", b"0123456789abcdef"));
        assert!(!is_same(b"", b"0123456789abcdef") && !is_same(b"0123456789abcdeg", b"0123456789abcdef"));
    }
}
