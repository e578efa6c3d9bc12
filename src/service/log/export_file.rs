//! The file that exported log records go into: a new one, for its owner alone, and nothing is left of it unless all
//! of it is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::Serialize;

use crate::domain::export::{ExportFormat, ExportNews};
use crate::domain::format;
use crate::domain::log::Row;
use crate::domain::log_words;
use crate::domain::sanitise;
use crate::service::log::script::{JsonGap, JsonRecord};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is being written. It is removed when it is dropped before [`ExportFile::finish`].
pub struct ExportFile {
    path: PathBuf,
    /// Its path for people.
    shown: String,
    writer: Writer<File>,
    is_whole: bool,
}

impl ExportFile {
    /// Makes the file that a person typed: below the working directory when it is relative, `~/` is the home.
    /// With `names_sources` every line of text says its source.
    ///
    /// # Errors
    /// In words, when there is such a file already or it cannot be made.
    pub fn create(typed: &str, format: ExportFormat, names_sources: bool) -> Result<Self, String> {
        let path = absolute(typed);
        let shown = sanitise::text(&path.display().to_string());
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!("`{shown}` is there already: choose another name, it is kept as it is")
                }
                _ => format!("could not write `{shown}`: {}", cause(&error)),
            })?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let writer = Writer { out, format, names_sources, records: 0, bytes: 0, gaps: 0 };
        Ok(Self { path, shown, writer, is_whole: false })
    }

    /// Writes a record, or what is missing in its place, of the source of this name.
    ///
    /// # Errors
    /// Those of the file; [`ExportFile::trouble`] has words for them.
    pub fn row(&mut self, source: &str, row: &Row) -> io::Result<()> {
        self.writer.row(source, row)
    }

    /// Records and bytes so far.
    pub fn written(&self) -> (u64, u64) {
        (self.writer.records, self.writer.bytes)
    }

    /// Brings all of it to the disk. `missing` is told with it: what is not in it although it was asked for.
    pub fn finish(mut self, missing: Vec<String>) -> ExportNews {
        let whole = self.writer.out.flush().and_then(|()| self.writer.out.get_ref().sync_all());
        if let Err(error) = whole {
            return ExportNews::Failed(self.trouble(&error));
        }
        self.is_whole = true;
        let Writer { records, bytes, gaps, .. } = self.writer;
        ExportNews::Finished { path: self.shown.clone(), records, bytes, gaps, missing }
    }

    /// Why it could not be written, in words.
    pub fn trouble(&self, error: &io::Error) -> String {
        format!(
            "could not write `{}`: {} after {}; nothing of it is kept, choose a place with more room",
            self.shown,
            cause(error),
            format::bytes(self.writer.bytes)
        )
    }
}

impl Drop for ExportFile {
    fn drop(&mut self) {
        if !self.is_whole
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("an unfinished export is left: {error}");
        }
    }
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space left on the disk".into(),
        io::ErrorKind::QuotaExceeded => "your quota is used up".into(),
        io::ErrorKind::NotFound => "there is no such directory".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// The whole path of what a person typed: below the working directory, `~/` is the home.
pub fn absolute(typed: &str) -> PathBuf {
    let typed = typed.trim();
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let path = match typed.strip_prefix("~/").and_then(|rest| Some(home()?.join(rest))) {
        Some(path) => path,
        None => PathBuf::from(typed),
    };
    std::path::absolute(&path).unwrap_or(path)
}

struct Writer<W: Write> {
    out: BufWriter<W>,
    format: ExportFormat,
    /// Lines say their source.
    names_sources: bool,
    records: u64,
    bytes: u64,
    gaps: u64,
}

impl<W: Write> Writer<W> {
    fn row(&mut self, source: &str, row: &Row) -> io::Result<()> {
        match (row, self.format) {
            (Row::Record(record), ExportFormat::Text) => {
                self.records += 1;
                for line in record.original.as_ref().unwrap_or(&record.lines) {
                    if self.names_sources {
                        self.put(source.as_bytes())?;
                        self.put(b": ")?;
                    }
                    self.put(line.as_bytes())?;
                    self.put(b"\n")?;
                }
                if let Some(cut) = record.cut_words() {
                    self.put(format!("~ {cut} not shown ~\n").as_bytes())?;
                }
                Ok(())
            }
            (Row::Record(record), ExportFormat::Json) => {
                self.records += 1;
                self.json(&JsonRecord::new(source, record, None))
            }
            (Row::Gap(gap), ExportFormat::Text) => {
                self.gaps += 1;
                self.put(log_words::gap(source, &gap.kind).as_bytes())?;
                self.put(b"\n")
            }
            (Row::Gap(gap), ExportFormat::Json) => {
                self.gaps += 1;
                self.json(&JsonGap { source, gap: &gap.kind })
            }
            (Row::Break, _) => Ok(()),
        }
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.put(&text)?;
        self.put(b"\n")
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HostId;
    use crate::domain::log::{Gap, GapKind, Position};

    #[test]
    fn what_is_missing_stands_in_the_file_where_it_is_missing() {
        let write = |format| {
            let mut writer =
                Writer { out: BufWriter::new(Vec::new()), format, names_sources: false, records: 0, bytes: 0, gaps: 0 };
            let source = crate::domain::ids::SourceId::new(&HostId::new("h"), "api");
            let cursor = crate::domain::log::Cursor::Store { nanos: 0, tie: String::new() };
            let position = Position { time: None, source, cursor };
            let kind = GapKind::Dropped { lines: 3 };
            writer.row("api", &Row::Gap(Gap { position, kind })).unwrap();
            assert_eq!(writer.gaps, 1);
            String::from_utf8(writer.out.into_inner().unwrap()).unwrap()
        };
        let text = "~ 3 lines not shown: api outgrew its spool, oldest dropped ~\n";
        assert_eq!(write(ExportFormat::Text), text);
        assert_eq!(write(ExportFormat::Json), "{\"source\":\"api\",\"gap\":{\"dropped\":{\"lines\":3}}}\n");
    }

    #[test]
    fn a_full_disk_is_said_in_words() {
        let full = rustix::io::Errno::NOSPC.raw_os_error();
        assert_eq!(cause(&io::Error::from_raw_os_error(full)), "no space left on the disk");
        assert_eq!(cause(&io::ErrorKind::PermissionDenied.into()), "permission denied");
    }
}
