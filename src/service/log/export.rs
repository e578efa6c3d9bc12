//! Writes log records into a file, on a thread of its own: one export at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::export::{ExportNews, ExportRequest};
use crate::domain::query::Query;
use crate::domain::query::matcher::Matcher;
use crate::domain::request::Inbound;
use crate::logstore::engine::Engine;
use crate::logstore::range::{self, Passed, Range};
use crate::logstore::segment::lock;
use crate::service::Reply;
use crate::service::log::export_file::ExportFile;

/// Bytes between two words about how far it is: a few a second on a usual disk.
const NEWS_BYTES: u64 = 16 << 20;

/// The export that is under way, if any.
#[derive(Clone)]
pub struct Exports {
    cancel: CancellationToken,
    running: Arc<Mutex<Option<Arc<AtomicBool>>>>,
}

/// An export from its start to its end, however it ends: another one may begin then, and the screen hears of it.
struct Running<'a> {
    exports: &'a Exports,
    reply: &'a Reply,
    is_over: bool,
}

impl Running<'_> {
    fn end(&mut self, news: ExportNews) {
        self.is_over = true;
        *lock(&self.exports.running) = None;
        // A screen that is gone needs no answer, here and below.
        let _ = (self.reply)(Inbound::Export(news));
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(ExportNews::Failed("could not export: hotseat made a mistake; nothing is kept".into()));
        }
    }
}

impl Exports {
    /// No export yet; every export ends with `cancel`.
    pub fn new(cancel: CancellationToken) -> Self {
        Self { cancel, running: Arc::default() }
    }

    /// Starts writing; `reply` hears of it. Does not block.
    pub fn start(&self, engine: Arc<Engine>, request: ExportRequest, reply: Reply) {
        let told = reply.clone();
        self.spawn(reply, move |go_on| {
            write(&engine, &request, go_on, &|it| {
                let _ = told(Inbound::Export(it));
            })
        });
    }

    /// Works on a thread of its own, if no other export does.
    fn spawn(&self, reply: Reply, work: impl FnOnce(&dyn Fn() -> bool) -> ExportNews + Send + 'static) {
        let stop = Arc::new(AtomicBool::new(false));
        let refused = {
            let mut running = lock(&self.running);
            let is_busy = running.is_some();
            if !is_busy {
                *running = Some(stop.clone());
            }
            is_busy
        };
        if refused {
            let text = "another export is being written: wait for it, or Esc stops it";
            let _ = reply(Inbound::Export(ExportNews::Failed(text.into())));
            return;
        }
        let (exports, heard) = (self.clone(), reply.clone());
        let spawned = std::thread::Builder::new().name("log-export".into()).spawn(move || {
            let mut running = Running { exports: &exports, reply: &reply, is_over: false };
            let news = work(&|| !stop.load(Ordering::Relaxed) && !exports.cancel.is_cancelled());
            running.end(news);
        });
        if let Err(error) = spawned {
            *lock(&self.running) = None;
            let _ = heard(Inbound::Export(ExportNews::Failed(format!("could not start to export: {error}"))));
        }
    }

    /// Stops the export that is under way.
    pub fn stop(&self) {
        if let Some(stop) = lock(&self.running).as_ref() {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Writes the file; nothing is left of it unless all of it is there.
fn write(engine: &Engine, request: &ExportRequest, go_on: &dyn Fn() -> bool, tell: &dyn Fn(ExportNews)) -> ExportNews {
    let query = Query::parse(&request.query);
    let matcher = query.and_then(|it| Matcher::new(&it, clock::now(), &clock::zone()));
    let matcher = match matcher {
        Ok(matcher) => matcher,
        Err(error) => return ExportNews::Failed(format!("could not export: {error}")),
    };
    let mut file = match ExportFile::create(&request.path, request.format, engine.sources().len() > 1) {
        Ok(file) => file,
        Err(error) => return ExportNews::Failed(error),
    };
    let range = Range {
        sources: request.sources.clone(),
        muted: request.muted.clone(),
        from: request.from.clone(),
        until: request.until.clone(),
    };
    let mut told = 0;
    let passed = range::each(engine, &matcher, &range, go_on, &mut |source, row| {
        file.row(source, &row)?;
        let (records, bytes) = file.written();
        if bytes - told >= NEWS_BYTES {
            told = bytes;
            tell(ExportNews::Writing { records, bytes });
        }
        Ok(())
    });
    match passed {
        Ok(Passed::Whole) => file.finish(Vec::new()),
        Ok(Passed::Stopped) => ExportNews::Stopped,
        Err(error) => ExportNews::Failed(file.trouble(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::time::Duration;

    use super::*;
    use crate::domain::export::ExportFormat;
    use crate::domain::ids::HostId;
    use crate::domain::log::{Anchor, Position, ViewId, WindowRequest, WindowSource};
    use crate::service::log::export_file::absolute;
    use crate::service::log::{LogService, from_operands};
    use crate::service::{FactSender, ServiceSetup};

    /// A deadline that only a broken test meets.
    const LONG: Duration = Duration::from_secs(60);

    struct Rig {
        directory: tempfile::TempDir,
        setup: ServiceSetup,
        service: LogService,
    }

    impl Rig {
        fn new(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let paths = files.iter().map(|(name, text)| {
                let path = directory.path().join(name);
                fs::write(&path, text).unwrap();
                path.to_string_lossy().into_owned()
            });
            let specs = from_operands(&paths.collect::<Vec<_>>());
            let (facts, _) = FactSender::channel();
            let setup = ServiceSetup {
                host: HostId::new("h"),
                user: "tester".into(),
                state_dir: directory.path().join("state"),
                facts,
                cancel: CancellationToken::new(),
            };
            let service = LogService::start_opened(&setup, specs);
            Self { directory, setup, service }
        }

        fn request(&self, file: &str, query: &str) -> ExportRequest {
            let path = self.directory.path().join(file).to_string_lossy().into_owned();
            ExportRequest {
                format: ExportFormat::of_path(&path),
                path,
                query: query.into(),
                sources: Vec::new(),
                muted: Vec::new(),
                from: None,
                until: None,
            }
        }

        fn start(&self, request: ExportRequest) -> Receiver<ExportNews> {
            let (news_tx, news_rx) = sync_channel(1000);
            self.service.export(
                request,
                Arc::new(move |it| match it {
                    Inbound::Export(news) => news_tx.send(news).is_ok(),
                    _ => true,
                }),
            );
            news_rx
        }

        fn end(&self, request: ExportRequest) -> ExportNews {
            let news = self.start(request);
            loop {
                match news.recv_timeout(LONG).expect("news") {
                    ExportNews::Writing { .. } => {}
                    other => return other,
                }
            }
        }

        fn positions(&self) -> Vec<Position> {
            let (rows_tx, rows_rx) = sync_channel(100);
            let request = WindowRequest::new(ViewId(1), 1, Anchor::Head, (0, 100));
            self.service.engine().request(request, Box::new(move |window| rows_tx.send(window.rows).is_ok()));
            let rows = rows_rx.recv_timeout(LONG).expect("a window").unwrap_or_default();
            rows.iter().filter_map(|it| it.position().cloned()).collect()
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.directory.path().join(file)).unwrap()
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            self.setup.cancel.cancel();
        }
    }

    fn three() -> String {
        (1..=3).map(|it| format!("2026-08-19T14:51:3{it}Z INFO line {it}\n  more of {it}\n")).collect()
    }

    #[test]
    fn what_passes_is_written_whole_for_the_owner_alone_and_never_over_a_file() {
        let rig = Rig::new(&[("a.log", &three())]);
        let news = rig.end(rig.request("out.log", "-/line 2/"));
        let ExportNews::Finished { path, records, bytes, gaps, .. } = news else { panic!("{news:?}") };
        let expected = "2026-08-19T14:51:31Z INFO line 1\n  more of 1\n2026-08-19T14:51:33Z INFO line 3\n  more of 3\n";
        assert_eq!(rig.read("out.log"), expected);
        assert_eq!((records, bytes, gaps), (2, expected.len() as u64, 0));
        assert!(path.starts_with('/') && path.ends_with("/out.log"), "{path}");
        let mode = fs::metadata(rig.directory.path().join("out.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = rig.end(rig.request("out.log", ""));
        assert!(matches!(&again, ExportNews::Failed(why) if why.contains("is there already")), "{again:?}");
        assert_eq!(rig.read("out.log"), expected);
        let nowhere = rig.end(rig.request("no/such/out.log", ""));
        assert!(matches!(&nowhere, ExportNews::Failed(why) if why.contains("no such directory")), "{nowhere:?}");
    }

    #[test]
    fn a_range_of_several_sources_is_written_as_json() {
        let b = "2026-08-19T14:51:32Z WARN other\n2026-08-19T14:51:40Z WARN late\n";
        let rig = Rig::new(&[("a.log", &three()), ("b.log", b)]);
        let positions = rig.positions();
        assert_eq!(positions.len(), 5);
        let range = ExportRequest {
            from: Some(positions[1].clone()),
            until: Some(positions[3].clone()),
            ..rig.request("out.jsonl", "")
        };
        let news = rig.end(range.clone());
        assert!(matches!(news, ExportNews::Finished { records: 3, .. }), "{news:?}");
        let lines: Vec<serde_json::Value> =
            rig.read("out.jsonl").lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let texts: Vec<&str> = lines.iter().filter_map(|it| it["text"].as_str()).collect();
        assert!(texts[0].starts_with("2026-08-19T14:51:32Z INFO line 2\n") && texts[1].ends_with("other"), "{texts:?}");
        assert_eq!((&lines[1]["source"], &lines[1]["level"]), (&"b".into(), &"warn".into()));
        let muted = ExportRequest {
            path: range.path.replace("out.", "muted."),
            muted: vec![positions[2].source.clone()],
            ..range
        };
        assert!(matches!(rig.end(muted), ExportNews::Finished { records: 2, .. }));
    }

    #[test]
    fn an_export_that_is_stopped_leaves_nothing() {
        let rig = Rig::new(&[("a.log", &three())]);
        let path = absolute(&rig.request("out.log", "").path);
        let news = write(rig.service.engine(), &rig.request("out.log", ""), &|| false, &|_| {});
        assert_eq!(news, ExportNews::Stopped);
        assert!(!path.exists());
    }

    #[test]
    fn an_export_that_panics_is_said_and_another_one_may_begin() {
        let exports = Exports::new(CancellationToken::new());
        let (news_tx, news_rx) = sync_channel(10);
        let reply: Reply = Arc::new(move |it| match it {
            Inbound::Export(news) => news_tx.send(news).is_ok(),
            _ => true,
        });
        exports.spawn(reply.clone(), |_| panic!("a test that panics on purpose"));
        let news = news_rx.recv_timeout(LONG).expect("news");
        assert!(matches!(&news, ExportNews::Failed(why) if why.contains("made a mistake")), "{news:?}");
        exports.spawn(reply, |_| ExportNews::Stopped);
        assert_eq!(news_rx.recv_timeout(LONG), Ok(ExportNews::Stopped));
    }
}
