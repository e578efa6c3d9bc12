//! What several integration tests share.

use hotseat as host;

pub mod elasticsearch;
pub mod faults;
// The pane's own tests use it as well.
pub mod link;
#[path = "../../../src/panes/logs/fixture/engine.rs"]
mod log_engine;
pub mod loki;
pub mod mounts;
pub mod netns;
pub mod peer;
pub mod picture;
pub mod pty;
pub mod sampler;
pub mod screen;
pub mod sshd;
pub mod tls;
pub mod web;
