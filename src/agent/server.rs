//! Serves the screens of a state directory by its socket: who is let in, how many, and where the socket stands.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::agent::codec;
use crate::agent::peer::Caller;
use crate::agent::protocol::{INBOUND_MAX_BYTES, ToScreen};
use crate::agent::reception::{CONNECTIONS_MAX, Reception};
use crate::agent::socket::{self, Bound, Places, Share};
use crate::config::Config;
use crate::domain::host::Role;
use crate::runtime::attach::Attacher;

/// How long until accepting is tried again when files have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// How often it is looked whether the socket still stands where screens find it.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// How long until it is tried again to put it back: until then nobody else gets on.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// How screens are served.
#[derive(Debug, Clone)]
pub struct ServerSetup {
    /// What this process is.
    pub role: Role,
    /// Who besides our own account is let in.
    pub share: Option<Share>,
}

impl ServerSetup {
    /// As a config says whom to let in.
    pub fn new(role: Role, config: &Config) -> Self {
        Self { role, share: config.share.as_ref().map(|it| Share { gid: it.gid }) }
    }
}

/// Why screens are not served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Somebody else holds the state directory, or it cannot be locked.
    #[error("could not serve other screens: this runtime does not hold its state directory")]
    NotHeld,
    /// No place allows a socket.
    #[error("could not serve other screens: {0} (put the state directory on a disk of this host, at a short path)")]
    NoPlace(String),
}

/// Serves screens by the socket of a state directory until it is closed. Dropping it lets everybody go without a word.
pub struct Server {
    reception: Reception,
    elsewhere: Option<String>,
    path: PathBuf,
    share_tx: watch::Sender<Option<Share>>,
}

impl Server {
    /// Binds the socket and lets screens in. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// See [`ServeError`]; the runtime itself is not affected.
    pub fn start(attacher: Attacher, setup: ServerSetup, places: &Places) -> Result<Self, ServeError> {
        if !attacher.holds_state() {
            return Err(ServeError::NotHeld);
        }
        let no_place = |error: io::Error| ServeError::NoPlace(error.to_string());
        let (listener, bound) = socket::bind(places, setup.share).map_err(ServeError::NoPlace)?;
        let listener = UnixListener::from_std(listener).map_err(no_place)?;
        attacher.publish(Some(bound.path()), setup.share.map(|it| it.gid)).map_err(no_place)?;
        let (path, elsewhere) = (bound.path().to_path_buf(), bound.elsewhere.clone());
        let (share_tx, share_rx) = watch::channel(setup.share);
        let door = Door {
            reception: Reception::new(attacher.clone(), setup.role),
            attacher,
            share: setup.share,
            places: places.clone(),
            ours: rustix::process::getuid().as_raw(),
        };
        let reception = door.reception.clone();
        reception.spawn(door.keep(listener, bound, share_rx));
        Ok(Self { reception, elsewhere, path, share_tx })
    }

    /// Lets in whom a config says, and whom every one says that replaces it.
    pub fn follow(&self, mut config_rx: watch::Receiver<Arc<Config>>) {
        let share_tx = self.share_tx.clone();
        self.reception.spawn(async move {
            loop {
                let share = config_rx.borrow_and_update().share.as_ref().map(|it| Share { gid: it.gid });
                share_tx.send_if_modified(|it| std::mem::replace(it, share) != share);
                if config_rx.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Where the socket stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it does not stand in the state directory, when it does not.
    pub fn elsewhere(&self) -> Option<&str> {
        self.elsewhere.as_deref()
    }

    /// Cancelled when an agent asks this screen's runtime to make room. An agent's server is never asked.
    pub fn yielded(&self) -> CancellationToken {
        self.reception.yielded()
    }

    /// How many screens are connected.
    pub fn connections(&self) -> usize {
        self.reception.connections()
    }

    /// Takes the socket away and says good-bye to every screen, with `why` in words, once what people decided has
    /// been carried out. Call it before the runtime is shut down. Takes half a second at most.
    pub async fn close(self, why: &str) {
        self.reception.close(why).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.reception.abandon();
    }
}

/// Lets screens in by the socket.
struct Door {
    reception: Reception,
    attacher: Attacher,
    share: Option<Share>,
    places: Places,
    ours: u32,
}

impl Door {
    async fn keep(
        mut self,
        mut listener: UnixListener,
        mut bound: Bound,
        mut share_rx: watch::Receiver<Option<Share>>,
    ) {
        let closing = self.reception.closing();
        let mut check = interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_out_of_files = false;
        // Why it could not be put back, as it was said last.
        let mut trouble = None;
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        is_out_of_files = false;
                        self.let_in(stream);
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut is_out_of_files, true) {
                            tracing::warn!("could not let a screen in: {error}");
                        }
                        sleep(ACCEPT_RETRY).await;
                    }
                },
                Ok(()) = share_rx.changed() => {
                    let share = *share_rx.borrow_and_update();
                    self.share_with(share, &bound);
                }
                _ = check.tick() => {
                    if bound.is_there() {
                        continue;
                    }
                    match self.bind_again() {
                        Ok(again) => {
                            (listener, bound) = again;
                            trouble = None;
                            tracing::warn!("the socket was gone and stands at `{}` again", bound.path().display());
                        }
                        Err(why) => {
                            check.reset_after(BIND_RETRY);
                            if trouble.as_ref() != Some(&why) {
                                tracing::warn!("the socket is gone and no other screen gets on: {why}");
                                trouble = Some(why);
                            }
                        }
                    }
                }
            }
        }
        drop(bound);
        // The lock goes with the process; until then nobody need knock.
        let _ = self.attacher.publish(None, self.share.map(|it| it.gid));
    }

    /// Opens the socket to another group, or to nobody else any more; who came in by the one before goes.
    fn share_with(&mut self, share: Option<Share>, bound: &Bound) {
        self.share = share;
        self.reception.dismiss_others("this hotseat is not shared with you any more (ask whose it is)");
        let shared = bound.share(share);
        let told = shared.and_then(|()| self.attacher.publish(Some(bound.path()), share.map(|it| it.gid)));
        match (told, share) {
            (Ok(()), Some(Share { gid })) => tracing::info!(gid, "the group of `share` may attach"),
            (Ok(()), None) => tracing::info!("nobody else may attach any more"),
            (Err(error), _) => tracing::error!(%error, "could not change who may attach"),
        }
    }

    /// Puts the socket back that somebody tidied away.
    fn bind_again(&self) -> Result<(UnixListener, Bound), String> {
        let (listener, bound) = socket::bind(&self.places, self.share)?;
        let listener = UnixListener::from_std(listener).map_err(|error| error.to_string())?;
        self.attacher
            .publish(Some(bound.path()), self.share.map(|it| it.gid))
            .map_err(|error| format!("could not write down where it stands: {error}"))?;
        Ok((listener, bound))
    }

    fn let_in(&self, stream: UnixStream) {
        let caller = stream
            .peer_cred()
            .map_err(|error| format!("who you are is not known: {error}"))
            .and_then(|peer| Caller::of(peer.uid(), self.ours, self.share.is_some()));
        let caller = match caller {
            Ok(caller) => caller,
            Err(why) => {
                tracing::warn!("a screen was not let in: {why}");
                return refuse(&stream, why);
            }
        };
        if self.reception.connections() >= CONNECTIONS_MAX {
            return refuse(&stream, format!("{CONNECTIONS_MAX} screens are attached already (close one)"));
        }
        let reception = self.reception.clone();
        self.reception.spawn(async move { reception.serve(stream, caller).await });
    }
}

/// Says why to a stream that nothing has been written to, so that there is room for it.
fn refuse(stream: &UnixStream, why: String) {
    if let Ok(line) = codec::encode(&ToScreen::Refused(why), INBOUND_MAX_BYTES) {
        // Who does not wait for the answer has their reasons.
        let _ = stream.try_write(&line);
    }
}
