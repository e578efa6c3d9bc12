//! Writes the demo's logs and database: real files that grow, rotate and hold what a bad day looks like.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use crate::demo::scenario::Scenario;

/// Lines written in one step at most; a suspended laptop must not wake up to a flood.
const STEP_LINES_MAX: u32 = 2_000;

/// Writes the log files of a scenario.
pub struct LogWriter {
    directory: PathBuf,
    files: BTreeMap<String, File>,
    random: fastrand::Rng,
    // Fractions of a line that are owed, by index of the scenario's lines.
    owed: Vec<f64>,
    zone: TimeZone,
}

impl LogWriter {
    /// Creates the files. The seed makes two demos write the same texts.
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn create(directory: &Path, scenario: &Scenario, zone: TimeZone) -> io::Result<Self> {
        let mut writer = Self {
            directory: directory.to_path_buf(),
            files: BTreeMap::new(),
            random: fastrand::Rng::with_seed(819),
            owed: vec![0.0; scenario.line.len()],
            zone,
        };
        for name in scenario.files() {
            writer.files.insert(name.to_string(), open(&directory.join(name))?);
        }
        Ok(writer)
    }

    /// Writes the lines of the healthy phase that came before the demo, as logrotate left them: packed, two rotations back.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_history(&mut self, scenario: &Scenario, now: Timestamp) -> io::Result<()> {
        let Some(first) = scenario.phase.first() else { return Ok(()) };
        let seconds = i64::try_from(scenario.history.as_secs()).unwrap_or(0);
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for ago in (1..=seconds).rev() {
            let at = now - jiff::SignedDuration::from_secs(ago);
            for (name, text) in self.lines(scenario, &first.name, Duration::from_secs(1), at) {
                texts.entry(name.to_string()).or_default().push_str(&text);
            }
        }
        for (name, text) in texts {
            let file = open(&self.directory.join(format!("{name}.2.gz")))?;
            let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            packer.write_all(text.as_bytes())?;
            packer.finish()?;
        }
        Ok(())
    }

    /// Writes what belongs to `step` of scenario time, in phase `phase`; all lines carry `now`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&mut self, scenario: &Scenario, phase: &str, step: Duration, now: Timestamp) -> io::Result<()> {
        for (name, text) in self.lines(scenario, phase, step, now) {
            if let Some(file) = self.files.get_mut(name) {
                file.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// The text by file that belongs to `step` of scenario time.
    fn lines<'a>(
        &mut self,
        scenario: &'a Scenario,
        phase: &str,
        step: Duration,
        now: Timestamp,
    ) -> BTreeMap<&'a str, String> {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        let mut left = STEP_LINES_MAX;
        for (at, line) in scenario.line.iter().enumerate() {
            if !line.phases.iter().any(|it| it == phase) {
                continue;
            }
            self.owed[at] += step.as_secs_f64() / line.every.as_secs_f64() * (0.5 + self.random.f64());
            while self.owed[at] >= 1.0 && left > 0 {
                self.owed[at] -= 1.0;
                left -= 1;
                let text = self.fill(line.text.trim_start_matches('\n'), now);
                let target = texts.entry(&line.file).or_default();
                target.push_str(&text);
                target.push('\n');
            }
            self.owed[at] = self.owed[at].min(1.0);
        }
        texts
    }

    /// Renames a file to `NAME.1` and begins a new one, as logrotate does.
    ///
    /// # Errors
    /// When it cannot be renamed or created.
    pub fn rotate(&mut self, name: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        std::fs::rename(&path, self.directory.join(format!("{name}.1")))?;
        self.files.insert(name.to_string(), open(&path)?);
        Ok(())
    }

    fn fill(&mut self, template: &str, now: Timestamp) -> String {
        const USERS: [&str; 6] = ["alice", "李雷", "bob", "韩梅梅", "carol", "wei"];
        let zoned = now.to_zoned(self.zone.clone());
        let mut text = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some(start) = rest.find('{') {
            text.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else { break };
            let value = match &rest[start + 1..start + length] {
                "iso" => zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
                "clf" => zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
                "epoch" => now.as_millisecond().to_string(),
                "n" => self.random.u32(1_000..99_999).to_string(),
                "ms" => self.random.u32(3..90).to_string(),
                "id" => self.random.u32(1..9).to_string(),
                "ip" => format!("203.0.113.{}", self.random.u8(1..255)),
                "user" => USERS[self.random.usize(0..USERS.len())].to_string(),
                _ => {
                    // A brace of the text itself (JSON): it stays.
                    text.push('{');
                    rest = &rest[start + 1..];
                    continue;
                }
            };
            text.push_str(&value);
            rest = &rest[start + length + 1..];
        }
        text.push_str(rest);
        text
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The demo's database: a few orders a second, so that every backup differs from the last.
pub struct OrdersDatabase {
    connection: Connection,
    next: u64,
}

impl OrdersDatabase {
    /// Creates it with some history in it.
    ///
    /// # Errors
    /// When SQLite cannot create or fill the file.
    pub fn create(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, song TEXT NOT NULL, cents INTEGER NOT NULL)",
        )?;
        let transaction = connection.transaction()?;
        for id in 1..=5_000_u64 {
            insert(&transaction, id, Timestamp::UNIX_EPOCH)?;
        }
        transaction.commit()?;
        Ok(Self { connection, next: 5_001 })
    }

    /// Adds one order.
    ///
    /// # Errors
    /// When SQLite cannot write.
    pub fn add_order(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        insert(&self.connection, self.next, now)?;
        self.next += 1;
        Ok(())
    }
}

fn insert(connection: &Connection, id: u64, at: Timestamp) -> rusqlite::Result<usize> {
    let song = format!("song-{}", id * 7919 % 100_000);
    connection.execute(
        "INSERT INTO orders (id, at, song, cents) VALUES (?1, ?2, ?3, ?4)",
        (id as i64, at.as_millisecond(), song, (id % 500) as i64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenario::STORAGE_OUTAGE;

    #[test]
    fn an_outage_minute_holds_traces_json_and_chinese_and_survives_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let scenario = Scenario::parse(STORAGE_OUTAGE).unwrap();
        let now: Timestamp = "2024-08-19T06:44:00Z".parse().unwrap();
        let mut writer = LogWriter::create(directory.path(), &scenario, TimeZone::UTC).unwrap();
        writer.write(&scenario, "healthy", Duration::from_secs(20), now).unwrap();
        writer.rotate("api.log").unwrap();
        for _ in 0..40 {
            writer.write(&scenario, "api-timeout", Duration::from_secs(1), now).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(read("api.log.1").contains("INFO  [http-nio-"));
        let api = read("api.log");
        assert!(api.contains("数据库连接失败") && api.contains("\n\tat c.n.music.api.StorageClient.read"));
        assert!(!api.contains("{iso}") && api.contains("2024-08-19T06:44:00.000+00:00 ERROR"));
        for line in read("search.json.log").lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_came_before_is_packed_and_ends_where_the_demo_begins() {
        let directory = tempfile::tempdir().unwrap();
        let scenario = Scenario::parse(STORAGE_OUTAGE).unwrap();
        let now: Timestamp = "2024-08-19T06:44:00Z".parse().unwrap();
        let mut writer = LogWriter::create(directory.path(), &scenario, TimeZone::UTC).unwrap();
        writer.write_history(&scenario, now).unwrap();
        let packed = File::open(directory.path().join("api.log.2.gz")).unwrap();
        let text = io::read_to_string(flate2::read::MultiGzDecoder::new(packed)).unwrap();
        let times: Vec<&str> = text.lines().filter(|it| it.starts_with("2024")).map(|it| &it[..19]).collect();
        assert!(times.is_sorted() && times.len() > 100);
        assert_eq!(times.last(), Some(&"2024-08-19T06:43:59"));
        assert_eq!(std::fs::read(directory.path().join("api.log")).unwrap(), b"");
    }

    #[test]
    fn the_database_grows() {
        let directory = tempfile::tempdir().unwrap();
        let mut database = OrdersDatabase::create(&directory.path().join("orders.db")).unwrap();
        database.add_order(Timestamp::UNIX_EPOCH).unwrap();
        let count: i64 = database.connection.query_row("SELECT count(*) FROM orders", [], |it| it.get(0)).unwrap();
        assert_eq!(count, 5_001);
    }
}
