//! Drawing and small state that panes share, each a function of data.

pub mod editor;
pub mod graph;
pub mod hints;
pub mod input;
pub mod list;
pub mod popup;
pub mod progress;
pub mod scroll;
pub mod spark;
pub mod wrap;
