//! The embedded database: probe history, what alerts know, the outbox. Operational data, bounded in size.
