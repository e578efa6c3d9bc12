//! How durations, sizes, counts and times are written for people; the same everywhere.
