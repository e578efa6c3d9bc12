//! The stack of filter chips applied to logs, and its text form.
