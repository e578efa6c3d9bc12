//! The log engine: bytes on disk, and pages of stores elsewhere, to windows of records. Threads and `pread`; no tokio, no screen.
//!
//! A [`source`] is a row of [`segment`]s (a file, and what it was before each rotation). Segments are read
//! in [`block`]s by a [`block::reader`]; a block is split into [`record`]s by the [`stamp`]s and the [`shape`] of
//! its lines when somebody looks at it, and searched whole before that. A [`walk`] goes through the matching records outward from a
//! [`place`], and several walks are put into one by [`merge`]. Nothing is read that is not shown or counted.
//!
//! | to | there is |
//! |---|---|
//! | keep segments true | [`tail`] for a path, [`hints`] that wake it, [`history`] for rotated files, [`spool`] for a stream, [`packed`] where it has no disk, [`archive`] and [`transcode`] for what is not plain text |
//! | read lines | [`mod@format`], [`level`], [`json`] beside `stamp` and `shape` |
//! | answer | an [`engine`] has [`view`]s that follow, a [`window`] is built of walks, [`present`] makes its rows |
//! | count | a [`scan`] counts [`scan::goal`]s in the background into a [`scan::tally`], and keeps a [`summary`] of each block |
//! | meet everything once | [`stream`] for a command that prints, [`range`] for a screen that exports, [`recent`] for a check |
//!
//! A source may be a [`store`] elsewhere instead of bytes here; it is walked in pages.

pub mod archive;
pub mod block;
pub mod engine;
pub mod format;
pub mod glance;
pub mod hints;
pub mod history;
pub mod json;
pub mod level;
pub mod merge;
pub mod packed;
pub mod place;
pub mod present;
pub mod range;
pub mod recent;
pub mod record;
pub mod scan;
pub mod segment;
pub mod shape;
pub mod source;
pub mod spool;
pub mod stamp;
pub mod store;
pub mod stream;
pub mod summary;
pub mod tail;
pub mod transcode;
pub mod view;
pub mod walk;
pub mod window;

#[cfg(test)]
mod tests;
