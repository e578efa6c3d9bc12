//! Lets HTTP callers in, so many at a time and each for so long: what every listener of hotseat's own shares.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long until accepting is tried again when files have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves callers until `cancel`. Those who find no turn wait in the kernel's queue; a conversation takes `caller_max`
/// at most, one request each.
pub async fn serve<F, A>(
    listener: TcpListener,
    turns: Arc<Semaphore>,
    caller_max: Duration,
    cancel: CancellationToken,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send,
{
    loop {
        let turn = tokio::select! {
            () = cancel.cancelled() => return,
            turn = Arc::clone(&turns).acquire_owned() => turn,
        };
        // The semaphore is never closed.
        let Ok(turn) = turn else { return };
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let _turn = turn;
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(caller_max).keep_alive(false);
            let serving = server.serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = tokio::time::timeout(caller_max, serving).await;
        });
    }
}
