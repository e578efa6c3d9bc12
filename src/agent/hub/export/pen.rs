//! Writes the rows of an export into its file, on a thread of its own: a disk may take its time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc;

use crate::agent::hub::export::BATCHES_MAX;
use crate::domain::export::{ExportFormat, ExportNews};
use crate::domain::log::Row;
use crate::domain::sanitise;
use crate::service::log::export_file::ExportFile;

/// What the file says.
#[derive(Debug)]
pub enum Wrote {
    /// A batch was taken; so much is written in all.
    Batch {
        /// Records.
        records: u64,
        /// Bytes.
        bytes: u64,
    },
    /// It is whole, or nothing is left of it.
    Ended(ExportNews),
}

enum Order {
    Rows(Vec<(String, Row)>),
    Finish(Vec<String>),
}

/// The end that rows are handed to. Dropping it before [`Pen::finish`] leaves nothing of the file.
pub struct Pen {
    orders_tx: SyncSender<Order>,
}

impl Pen {
    /// Makes the file and waits for rows; `wrote_tx` hears of each batch and of the end.
    pub fn start(
        number: u64,
        path: String,
        format: ExportFormat,
        names_sources: bool,
        wrote_tx: mpsc::Sender<(u64, Wrote)>,
    ) -> Self {
        // The batches on their way, what is said of lost hosts, and the end.
        let (orders_tx, orders_rx) = sync_channel(BATCHES_MAX + 2);
        let failed_tx = wrote_tx.clone();
        let write = move || {
            let news = write(&path, format, names_sources, &orders_rx, &|it| {
                // A hub that is gone needs no answer, here and below.
                let _ = wrote_tx.blocking_send((number, it));
            });
            let _ = wrote_tx.blocking_send((number, Wrote::Ended(news)));
        };
        if let Err(error) = std::thread::Builder::new().name("log-export".into()).spawn(write) {
            let news = ExportNews::Failed(format!("could not start to export: {error}"));
            let _ = failed_tx.try_send((number, Wrote::Ended(news)));
        }
        Self { orders_tx }
    }

    /// Hands rows on, each with the name of its source. Never waits: whoever calls it counts what is under way.
    pub fn write(&self, rows: Vec<(String, Row)>) {
        // One that has failed says so itself.
        let _ = self.orders_tx.try_send(Order::Rows(rows));
    }

    /// Says that these were all; `missing` is told with the end.
    pub fn finish(&self, missing: Vec<String>) {
        let _ = self.orders_tx.try_send(Order::Finish(missing));
    }
}

fn write(
    path: &str,
    format: ExportFormat,
    names_sources: bool,
    orders_rx: &Receiver<Order>,
    tell: &dyn Fn(Wrote),
) -> ExportNews {
    let mut file = match ExportFile::create(path, format, names_sources) {
        Ok(file) => file,
        Err(error) => return ExportNews::Failed(error),
    };
    loop {
        match orders_rx.recv() {
            Ok(Order::Rows(rows)) => {
                for (source, row) in rows {
                    if let Err(error) = file.row(&sanitise::text(&source), &row) {
                        return ExportNews::Failed(file.trouble(&error));
                    }
                }
                let (records, bytes) = file.written();
                tell(Wrote::Batch { records, bytes });
            }
            Ok(Order::Finish(missing)) => return file.finish(missing),
            Err(_) => return ExportNews::Stopped,
        }
    }
}
