//! The host that this process runs on, as a screen meets it: the lock of its state directory, its socket, and a
//! runtime of our own when nobody else has one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::client::{self, AttachError, Ended};
use crate::agent::codec::FrameError;
use crate::agent::connector::{Attachment, Home, NoWay, World};
use crate::agent::server::{Server, ServerSetup};
use crate::agent::socket::{self, ConnectError, Places};
use crate::clock;
use crate::config::{Config, Loaded, paths};
use crate::domain::host::Role;
use crate::domain::ids::HostId;
use crate::domain::presence::{Via, Visitor};
use crate::domain::request::Request;
use crate::runtime::lock::{self, Acquired, StateLock, Stuck};
use crate::runtime::{ConfigReader, Link, Runtime, RuntimeSetup};
use crate::service::incident::store::IncidentStore;
use crate::service::log::export_file::absolute;

/// What a runtime that takes over gets to read what the one before left, before it is shown.
const RESTORE_WAIT: Duration = Duration::from_secs(1);
/// What other screens get for the last words of a runtime that ends; one that is stuck must not keep the terminal.
const GOOD_BYE: Duration = Duration::from_millis(200);
/// A config on a file system that does not answer must not keep a person from taking over.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// What a screen on this host is started with.
pub struct LocalSetup {
    /// The host's name.
    pub host: HostId,
    /// The person at the screen.
    pub user: String,
    /// The person looks and changes nothing: this screen never holds the host.
    pub readonly: bool,
    /// Where state lives.
    pub state_dir: PathBuf,
    /// The config as it was read for the first frame.
    pub loaded: Loaded,
    /// Reads it again without running its commands.
    pub fresh: ConfigReader,
    /// Reads it again, running its commands; `None` when there is nothing to read.
    pub reader: Option<ConfigReader>,
    /// Called when a runtime of this process runs, once.
    pub started: Option<Started>,
}

/// See [`LocalSetup::started`].
pub type Started = Box<dyn FnOnce(&Runtime) + Send>;

/// The host that this process runs on.
pub struct Local {
    setup: LocalSetup,
    places: Places,
    /// The config of the first frame; later ones are read anew.
    first: Option<Loaded>,
    /// Somebody else watched since the first frame, and the config may have changed.
    was_attached: bool,
    config_tx: watch::Sender<Arc<Config>>,
    /// Our own runtime watches the config.
    is_inside: bool,
}

impl Local {
    /// Makes it, with the config of the screen and every one that replaces it.
    pub fn new(mut setup: LocalSetup) -> (Self, watch::Receiver<Arc<Config>>) {
        let loaded = std::mem::take(&mut setup.loaded);
        let (config_tx, config_rx) = watch::channel(Arc::new(loaded.config.clone()));
        let places = Places::of(&setup.state_dir);
        (Self { setup, places, first: Some(loaded), was_attached: false, config_tx, is_inside: false }, config_rx)
    }

    async fn runtime_setup(&mut self) -> RuntimeSetup {
        let loaded = match self.first.take() {
            Some(loaded) if !self.was_attached => loaded,
            // What cannot be read now is worth less than what was read then.
            first => match read_again(Arc::clone(&self.setup.fresh)).await {
                Some(loaded) if loaded.readable => loaded,
                unreadable => first.or(unreadable).unwrap_or_default(),
            },
        };
        RuntimeSetup {
            host: self.setup.host.clone(),
            user: self.setup.user.clone(),
            state_dir: self.setup.state_dir.clone(),
            loaded,
            reader: self.setup.reader.clone(),
        }
    }

    /// Makes a home of a runtime and lets its config be the screen's.
    fn home(&mut self, runtime: Runtime, server: Option<Server>) -> LocalHome {
        self.is_inside = true;
        let (mut theirs, ours) = (runtime.config(), self.config_tx.clone());
        ours.send_replace(Arc::clone(&theirs.borrow_and_update()));
        tokio::spawn(async move {
            while theirs.changed().await.is_ok() {
                ours.send_replace(Arc::clone(&theirs.borrow_and_update()));
            }
        });
        if let Some(started) = self.setup.started.take() {
            started(&runtime);
        }
        let visitor = self.visitor(Via::Inside);
        let asked = server.as_ref().map_or_else(CancellationToken::new, Server::yielded);
        LocalHome { runtime, server, visitor, asked }
    }

    fn visitor(&self, via: Via) -> Visitor {
        let LocalSetup { user, readonly, .. } = &self.setup;
        Visitor { user: user.clone(), readonly: *readonly, via, seat: Some(paths::seat()) }
    }

    fn serve(&self, runtime: &Runtime) -> Option<Server> {
        let role = Role::Screen(self.setup.user.clone());
        let setup = ServerSetup::new(role, &runtime.config().borrow());
        match Server::start(runtime.attacher(), setup, &self.places) {
            Ok(server) => {
                server.follow(runtime.config());
                Some(server)
            }
            // Other screens stand by then, and say so.
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }
}

async fn read_again(fresh: ConfigReader) -> Option<Loaded> {
    timeout(READ_DEADLINE, tokio::task::spawn_blocking(move || fresh())).await.ok()?.ok()
}

/// Saves a draft in a state directory here, without a runtime: it is offered when a screen opens here again.
pub async fn keep_draft(state_dir: &Path, host: &HostId, user: &str, draft: Request) {
    if let Some(owner) = lock::owner_beside_root(state_dir) {
        tracing::error!("a draft was not kept: the state directory belongs to the account `{owner}`");
        return;
    }
    let (state_dir, host, user) = (state_dir.to_path_buf(), host.clone(), user.to_string());
    let kept = tokio::task::spawn_blocking(move || {
        let mut store = IncidentStore::new(&state_dir, &host, &user, clock::zone());
        match draft {
            Request::SaveNoteDraft(text) => store.save_note_draft(&text, clock::now()),
            Request::SaveDraft { incident, text } => store.save_draft(incident.as_ref(), &text, clock::now()),
            _ => Ok(()),
        }
    });
    if let Ok(Err(error)) = kept.await {
        tracing::error!("a draft was not kept: {error}");
    }
}

impl World for Local {
    type Home = LocalHome;

    async fn attach(&mut self) -> Result<Attachment, NoWay> {
        let stream = socket::connect(&self.places).await.map_err(|error| match error {
            ConnectError::Nobody(_) | ConnectError::Failed { .. } => NoWay::Absent(error.to_string()),
            // What is closed to us cannot be watched from here either.
            ConnectError::Foreign { .. } | ConnectError::Closed { .. } | ConnectError::Unshared { .. } => {
                NoWay::Refused(error.to_string())
            }
        })?;
        let attached = client::attach(stream, &client::hello(self.visitor(Via::Local))).await.map_err(|error| {
            let text = error.to_string();
            match error {
                AttachError::Lost(FrameError::Silent(_)) => NoWay::Silent(text),
                AttachError::Lost(_) => NoWay::Absent(text),
                AttachError::Refused(_) | AttachError::NotUnderstood(_) => NoWay::Refused(text),
            }
        })?;
        (self.is_inside, self.was_attached) = (false, true);
        let client::Attached { welcome, ahead_ms, heard, link, ended } = attached;
        let ended = async move { ended.await.unwrap_or_else(|_| Ended::Lost("the connection ended".into())) };
        Ok(Attachment {
            host: welcome.host,
            peer: welcome.peer,
            readonly: welcome.visitor.readonly,
            ahead_ms,
            heard,
            link,
            ended: Box::pin(ended),
        })
    }

    async fn begin(&mut self) -> Result<LocalHome, String> {
        let lock = match StateLock::acquire(&self.setup.state_dir, clock::now()) {
            Ok(Acquired::Held(lock)) => Some(lock),
            Ok(Acquired::Taken(holder)) => return Err(holder),
            // The runtime says why it does not watch, and does once it can.
            Err(_) => None,
        };
        let is_first = self.first.is_some() && !self.was_attached;
        let setup = self.runtime_setup().await;
        let Some(lock) = lock else {
            let runtime = Runtime::start(setup);
            return Ok(self.home(runtime, None));
        };
        let runtime = Runtime::start_holding(setup, lock);
        let server = self.serve(&runtime);
        if !is_first {
            // What is restored would else come in pieces over a picture that is whole.
            let _ = timeout(RESTORE_WAIT, runtime.active().cancelled_owned()).await;
        }
        Ok(self.home(runtime, server))
    }

    async fn read(&mut self, holder: &str) -> Option<LocalHome> {
        // Also one that only reads makes folders, for notes.
        if lock::owner_beside_root(&self.setup.state_dir).is_some() {
            return None;
        }
        let setup = self.runtime_setup().await;
        let runtime = Runtime::start_reading(setup, holder.to_string());
        Some(self.home(runtime, None))
    }

    fn fit(&self, request: Request) -> Request {
        match request {
            Request::Export(mut export) => {
                export.path = absolute(&export.path).display().to_string();
                Request::Export(export)
            }
            request => request,
        }
    }

    fn may_begin(&self) -> bool {
        !self.setup.readonly
    }

    async fn keep(&mut self, draft: Request) {
        keep_draft(&self.setup.state_dir, &self.setup.host, &self.setup.user, draft).await;
    }

    fn is_free(&mut self) -> bool {
        lock::is_free(&self.setup.state_dir)
    }

    fn stuck(&mut self) -> Option<String> {
        Stuck::find(&self.setup.state_dir).map(|it| it.words)
    }

    async fn end_stuck(&mut self) -> Result<(), String> {
        match Stuck::find(&self.setup.state_dir) {
            Some(stuck) => stuck.end(&self.setup.state_dir).await,
            None => Err("it is no process of this account that could be ended from here".into()),
        }
    }

    fn configured(&mut self) {
        if self.is_inside {
            return;
        }
        // Keys, theme and saved queries are this screen's own, also when somebody else watches.
        let (fresh, config_tx) = (Arc::clone(&self.setup.fresh), self.config_tx.clone());
        tokio::task::spawn_blocking(move || {
            let loaded = fresh();
            if loaded.readable {
                config_tx.send_replace(Arc::new(loaded.config));
            }
        });
    }
}

/// A runtime of this process, and the socket by which other screens attach to it.
pub struct LocalHome {
    runtime: Runtime,
    server: Option<Server>,
    visitor: Visitor,
    asked: CancellationToken,
}

impl Home for LocalHome {
    fn attach(&self) -> Link {
        self.runtime.attach(self.visitor.clone())
    }

    async fn asked_to_yield(&mut self) {
        self.asked.cancelled().await;
    }

    async fn end(self, why: &str) {
        if let Some(server) = self.server {
            // One that does not read is let go without a word.
            let _ = timeout(GOOD_BYE, server.close(why)).await;
        }
        self.runtime.shutdown().await;
    }
}
