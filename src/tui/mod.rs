//! The terminal: input, draw loop, life cycle.
