//! Starts a service's task again when it panics, with a growing pause, and says so on the board.

use std::any::Any;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::domain::fact::{Fact, RuntimeFact};
use crate::service::ServiceSetup;

/// Pause before the first restart.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between restarts: what fails every time must not fill the log, nor be given up.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Runs the future that `make` gives until it ends by itself or `setup.cancel` is triggered.
///
/// A panic becomes [`RuntimeFact::ServiceFailed`] and the future is made anew after a pause that doubles
/// with every panic. `name` is what the person reads: `log watcher`.
pub fn supervise<M, F>(setup: &ServiceSetup, name: &'static str, mut make: M) -> JoinHandle<()>
where
    M: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (facts, cancel) = (setup.facts.clone(), setup.cancel.clone());
    tokio::spawn(async move {
        let mut retry = RETRY_FIRST;
        loop {
            let Err(error) = tokio::spawn(make()).await else { return };
            if cancel.is_cancelled() || !error.is_panic() {
                return;
            }
            facts
                .send(Fact::Runtime(RuntimeFact::ServiceFailed {
                    service: name.to_string(),
                    error: panic_text(error.into_panic().as_ref()),
                    retry_s: u32::try_from(retry.as_secs()).unwrap_or(u32::MAX),
                }))
                .await;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(retry) => {}
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    })
}

/// Returns what a panic said.
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(|| "panicked".to_string(), |text| format!("panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::ids::HostId;
    use crate::service::FactSender;

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_is_started_again_and_reported() {
        let (facts, mut facts_rx) = FactSender::channel();
        let setup = ServiceSetup {
            host: HostId::new("test"),
            user: "alice".into(),
            state_dir: "/nonexistent".into(),
            facts,
            cancel: CancellationToken::new(),
        };
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let task = supervise(&setup, "flaky", move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(start >= 2, "start {start}") }
        });
        task.await.expect("the supervisor itself does not panic");
        assert_eq!(starts.load(Ordering::SeqCst), 3);
        let mut retries = Vec::new();
        while let Ok((_, fact)) = facts_rx.try_recv() {
            let Fact::Runtime(RuntimeFact::ServiceFailed { service, error, retry_s }) = fact else {
                panic!("unexpected {fact:?}");
            };
            assert_eq!(service, "flaky");
            assert!(error.starts_with("panicked: start "), "{error}");
            retries.push(retry_s);
        }
        assert_eq!(retries, [1, 2]);
    }
}
