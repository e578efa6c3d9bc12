//! A record of a block as a query sees it.

use std::borrow::Cow;
use std::cell::OnceCell;

use jiff::Timestamp;

use crate::domain::log::Level;
use crate::domain::query::field::FieldTest;
use crate::domain::query::matcher::Subject;
use crate::domain::sanitise::without_escapes;
use crate::logstore::block::Block;
use crate::logstore::format::{fields, otlp};
use crate::logstore::record::Span;

/// One record of a block, read as far as a query asks.
pub(super) struct RecordView<'a> {
    block: &'a Block,
    span: &'a Span,
    arrival: &'a dyn Fn(u64) -> Timestamp,
    /// Its bytes without escape sequences, when it has some.
    clean: OnceCell<Option<Vec<u8>>>,
}

impl<'a> RecordView<'a> {
    /// Reads nothing yet; `arrival` says when the bytes at an offset came, for records without a time.
    pub(super) fn new(block: &'a Block, span: &'a Span, arrival: &'a dyn Fn(u64) -> Timestamp) -> Self {
        Self { block, span, arrival, clean: OnceCell::new() }
    }

    fn raw(&self) -> &[u8] {
        let bytes = self.block.bytes_of(self.span);
        match self.block.aside(self.span) {
            // A store's record ends where its text does.
            Some(aside) => aside.text.as_deref().unwrap_or_else(|| bytes.strip_suffix(b"\n").unwrap_or(bytes)),
            None => bytes,
        }
    }
}

impl Subject for RecordView<'_> {
    fn bytes(&self) -> &[u8] {
        self.clean.get_or_init(|| without_escapes(self.raw())).as_deref().unwrap_or_else(|| self.raw())
    }
    fn level(&self) -> Option<Level> {
        self.block.level_of(self.span)
    }
    fn time(&self) -> Option<Timestamp> {
        Block::near_time_of(self.span).or_else(|| Some((self.arrival)(self.block.base + u64::from(self.span.start))))
    }
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.block.field_of(self.span, name)
    }
    fn passes_field(&self, test: &FieldTest) -> bool {
        // What a store knows stands beside the bytes.
        if self.block.aside(self.span).is_some() || !otlp::is_export(self.raw()) {
            return test.passes_among(|name| self.field(name));
        }
        fields::passes(self.bytes(), 0, &self.block.reading, test)
    }
}
