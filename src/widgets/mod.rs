//! Drawing and small state that panes share, each a function of data.

pub mod input;
pub mod progress;
pub mod spark;
