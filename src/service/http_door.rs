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
/// What a caller gets to say what is wanted: it is one packet. Who says nothing must not keep a turn from others.
const HEAD_MAX: Duration = Duration::from_secs(2);

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
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX.min(caller_max)).keep_alive(false);
            let serving = server.serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = tokio::time::timeout(caller_max, serving).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::clock;

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_keeps_a_turn_no_longer_than_a_request_takes_to_come() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (turns, cancel) = (Arc::new(Semaphore::new(1)), CancellationToken::new());
        let answer = |_| async { Ok(Response::new(Full::new(Bytes::from_static(b"here")))) };
        let serving = tokio::spawn(serve(listener, turns, 60 * HEAD_MAX, cancel.clone(), answer));
        let mut silent = TcpStream::connect(address).await.expect("accepted");
        silent.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.expect("sent");
        let began = clock::timer();
        let mut caller = TcpStream::connect(address).await.expect("queued");
        caller.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        let mut text = String::new();
        caller.read_to_string(&mut text).await.expect("an answer");
        assert!(text.ends_with("here"), "{text}");
        assert!(began.elapsed() < 2 * HEAD_MAX, "{:?}", began.elapsed());
        cancel.cancel();
        serving.await.expect("served");
    }
}
