//! Notifiers: the channels that reach people, and the worker that empties the outbox through them.
