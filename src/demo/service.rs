//! The loopback services of the demo: real listeners that refuse, hang or answer as the scenario says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::demo::scenario::{Behaviour, Service};

/// Connections a service serves at once; a probe burst of five services needs far less.
const CONNECTIONS_MAX: usize = 64;
/// A connection that hangs is let go after this: longer than any probe of the demo waits.
const HANG: Duration = Duration::from_secs(30);
/// Pause before a port that was taken meanwhile is tried again.
const REBIND_PAUSE: Duration = Duration::from_millis(250);

/// The running services.
pub struct Services {
    /// Service name to its address on loopback.
    pub addresses: BTreeMap<String, SocketAddr>,
    behaviours: BTreeMap<String, watch::Sender<Behaviour>>,
    // Delays of the script are multiplied by this, so that a fast round is slow in the same places.
    pace: f64,
}

impl Services {
    /// Binds every service to a free port of loopback and starts serving; delays are multiplied by `pace`.
    ///
    /// # Errors
    /// When loopback gives no port.
    pub async fn start(services: &[Service], pace: f64, cancel: &CancellationToken) -> std::io::Result<Self> {
        let mut result = Self { addresses: BTreeMap::new(), behaviours: BTreeMap::new(), pace };
        for service in services {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            let (behaviour_tx, behaviour_rx) = watch::channel(paced(healthy(service), pace));
            result.addresses.insert(service.name.clone(), address);
            result.behaviours.insert(service.name.clone(), behaviour_tx);
            let task = serve(listener, address, service.body.clone(), behaviour_rx);
            let cancel = cancel.clone();
            tokio::spawn(async move { cancel.run_until_cancelled_owned(task).await });
        }
        Ok(result)
    }

    /// Makes every service behave as the phase says; those not named are healthy.
    pub fn apply(&self, services: &[Service], behaviours: &BTreeMap<String, Behaviour>) {
        for service in services {
            let wanted = behaviours.get(&service.name).cloned().unwrap_or_else(|| healthy(service));
            let wanted = paced(wanted, self.pace);
            if let Some(behaviour_tx) = self.behaviours.get(&service.name) {
                behaviour_tx.send_if_modified(|it| std::mem::replace(it, wanted.clone()) != wanted);
            }
        }
    }
}

fn healthy(service: &Service) -> Behaviour {
    Behaviour::Answer { status: 200, delay: service.delay }
}

fn paced(behaviour: Behaviour, pace: f64) -> Behaviour {
    match behaviour {
        Behaviour::Answer { status, delay } => Behaviour::Answer { status, delay: delay.mul_f64(pace) },
        other => other,
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, body: String, mut behaviour_rx: watch::Receiver<Behaviour>) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let slots = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let behaviour = behaviour_rx.borrow_and_update().clone();
        if behaviour == Behaviour::Refuse {
            // Closing the listener is what makes the kernel refuse; open connections die with it.
            listener = None;
            connections.abort_all();
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None if behaviour == Behaviour::Refuse => std::future::pending().await,
                None => {
                    tokio::time::sleep(REBIND_PAUSE).await;
                    None
                }
            }
        };
        tokio::select! {
            changed = behaviour_rx.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = accept => {
                let (Some((stream, _)), Ok(slot)) = (accepted, slots.clone().try_acquire_owned()) else { continue };
                let body = body.clone();
                connections.spawn(async move {
                    answer(stream, behaviour, body).await;
                    drop(slot);
                });
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

async fn answer(stream: TcpStream, behaviour: Behaviour, body: String) {
    let Behaviour::Answer { status, delay } = behaviour else {
        tokio::time::sleep(HANG).await;
        drop(stream);
        return;
    };
    let service = service_fn(move |_request: Request<Incoming>| {
        let text = if status == 200 { body.clone() } else { format!("{status} from the demo service\n") };
        async move {
            tokio::time::sleep(delay).await;
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that goes away mid-answer is its own business.
    let _ = tokio::time::timeout(HANG, connection).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::demo::scenario::{STORAGE_OUTAGE, Scenario};

    async fn get(address: SocketAddr) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn a_service_answers_refuses_and_comes_back_on_the_same_port() {
        let scenario = Scenario::parse(STORAGE_OUTAGE).unwrap();
        let cancel = CancellationToken::new();
        let services = Services::start(&scenario.service, 1.0, &cancel).await.unwrap();
        let storage = services.addresses["storage"];
        assert!(get(storage).await.unwrap().contains("volume mounted"));

        services.apply(&scenario.service, &scenario.phase[1].service);
        while get(storage).await.is_ok() {
            tokio::task::yield_now().await;
        }
        services.apply(&scenario.service, &scenario.phase[3].service);
        let edge = services.addresses["edge"];
        while !get(edge).await.is_ok_and(|it| it.starts_with("HTTP/1.1 502")) {
            tokio::task::yield_now().await;
        }
        services.apply(&scenario.service, &scenario.phase[0].service);
        while get(storage).await.is_err() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    }
}
