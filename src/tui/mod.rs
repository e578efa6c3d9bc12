//! The terminal: input, draw loop, life cycle.

pub mod capabilities;
pub mod draw;
pub mod glyph;
pub mod parser;
pub mod pen;
pub mod scroll;
