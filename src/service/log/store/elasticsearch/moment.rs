//! Points in time: what pages are read from, so that they fit together while the index changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::logstore::segment::lock;
use crate::service::log::store::http::{Call, HttpClient};

/// How points in time are opened, and the open one.
#[derive(Debug, Default)]
pub(super) struct Moment {
    pub(super) dialect: Option<Dialect>,
    pub(super) open: Option<Arc<Pit>>,
}

/// Where the points in time of a server are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `POST /index/_pit`.
    Elasticsearch,
    /// `POST /index/_search/point_in_time`.
    OpenSearch,
    /// Without points in time.
    Neither,
}

/// A point in time; the server is told to forget it when nobody holds it any more.
#[derive(Debug)]
pub(super) struct Pit {
    id: Mutex<String>,
    dialect: Dialect,
    client: Arc<HttpClient>,
    is_gone: AtomicBool,
}

impl Pit {
    /// Takes over one that was opened.
    pub(super) fn new(id: String, dialect: Dialect, client: Arc<HttpClient>) -> Self {
        Self { id: Mutex::new(id), dialect, client, is_gone: AtomicBool::new(false) }
    }

    /// What the next search names.
    pub(super) fn id(&self) -> String {
        lock(&self.id).clone()
    }

    /// The server calls it something else from now on.
    pub(super) fn goes_on_as(&self, id: String) {
        *lock(&self.id) = id;
    }

    /// The server has forgotten it.
    pub(super) fn forget(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// It orders the records of one instant across shards.
    pub(super) fn has_order(&self) -> bool {
        self.dialect == Dialect::Elasticsearch
    }
}

impl Drop for Pit {
    fn drop(&mut self) {
        if self.is_gone.load(Ordering::Relaxed) {
            return;
        }
        let id = self.id();
        let (path, body) = match self.dialect {
            Dialect::OpenSearch => ("/_search/point_in_time", json!({ "pit_id": [id] })),
            _ => ("/_pit", json!({ "id": id })),
        };
        let body = Some(body.to_string());
        self.client.tell(Call { method: reqwest::Method::DELETE, path: path.into(), query: Vec::new(), body });
    }
}
