//! Serves `/metrics` and `/healthz` over HTTP, on this host alone unless the config says otherwise.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::agent::metrics;
use crate::agent::selfbeat::Beats;
use crate::clock;
use crate::runtime::observer::Observer;
use crate::service::http_door;

/// Who asks at a time: a pair of Prometheus servers, a load balancer, a person. More wait in the kernel's queue.
const CALLERS_MAX: usize = 16;
/// The whole of a conversation; a page takes milliseconds, and a part that is stuck is found in seconds.
const CALLER_MAX: Duration = Duration::from_secs(15);
/// How often an address that is taken is tried again.
const BIND_RETRY: Duration = Duration::from_secs(10);
/// By <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What answers are made of.
pub struct Desk {
    /// Whom it looks at.
    pub observer: Observer,
    /// What came of the beats.
    pub beats: Beats,
    /// Since when the agent runs.
    pub since: jiff::Timestamp,
}

/// Serves until `cancel`. An address that is taken is said once and tried again.
pub async fn serve(desk: Arc<Desk>, address: SocketAddr, cancel: CancellationToken) {
    let Some(listener) = bind(address, &cancel).await else { return };
    // With port 0 the kernel has chosen one.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "metrics are served");
    let turns = Arc::new(Semaphore::new(CALLERS_MAX));
    let answer = move |request| {
        let desk = Arc::clone(&desk);
        async move { desk.answer(request).await }
    };
    http_door::serve(listener, turns, CALLER_MAX, cancel, answer).await;
}

async fn bind(address: SocketAddr, cancel: &CancellationToken) -> Option<TcpListener> {
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) if !said => {
                said = true;
                tracing::error!(%address, %error, "could not serve metrics; it is tried again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = cancel.cancelled() => return None,
            () = tokio::time::sleep(BIND_RETRY) => {}
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let (status, kind, text) = match request.uri().path() {
            _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only read this\n".into()),
            "/metrics" => self.metrics().await,
            "/healthz" => self.healthz().await,
            "/" => (StatusCode::OK, "text/plain; charset=utf-8", "hotseat agent: /metrics, /healthz\n".into()),
            _ => (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "there is /metrics and /healthz\n".into()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if !is_read {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Ok(response)
    }

    async fn metrics(&self) -> (StatusCode, &'static str, String) {
        let vitals = self.observer.vitals().await;
        let own = self.beats.own(self.since);
        // A copy, so that neither waits for the other.
        let tallies = self.observer.look_at_tallies(Clone::clone).unwrap_or_default();
        match self.observer.look(|board| metrics::render(board, &tallies, &vitals, &own, clock::now())) {
            Some(page) => (StatusCode::OK, METRICS_TYPE, page),
            None => (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "the agent ends\n".into()),
        }
    }

    /// Nothing of the config is told: a load balancer on another host may be asking.
    async fn healthz(&self) -> (StatusCode, &'static str, String) {
        let vitals = self.observer.vitals().await;
        let parts = vitals.parts();
        let ill: Vec<&str> = parts.iter().filter(|(_, it)| !it.is_well()).map(|(name, _)| *name).collect();
        if ill.is_empty() {
            return (StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into());
        }
        (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", format!("not well: {}\n", ill.join(", ")))
    }
}
