//! The log engine: bytes on disk to windows of records. Threads and `pread`; no tokio, no screen.
