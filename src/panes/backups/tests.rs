//! Keys and rows of the pane, without a terminal.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::domain::backup::manifest::Manifest;
use crate::domain::backup::run::{CopyRow, CopyState, Progress, Run, Stage};
use crate::domain::backup::{BackupFact, JobInfo};
use crate::domain::board::Board;
use crate::domain::ids::HostId;

const NOW: &str = "2026-11-22T14:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("timestamp")
}

fn board(jobs: &[&str]) -> Board {
    let mut board = Board::default();
    for name in jobs {
        let job = JobInfo {
            id: JobId::new(&HostId::new("h"), name),
            kind: "sqlite".into(),
            source: "/srv/orders.db".into(),
            schedule: Some("daily 01:00".into()),
            zone: Some("UTC".into()),
            destinations: vec!["disk".into(), "nas".into()],
            keep: None,
        };
        board.backups.apply(at(NOW), &BackupFact::Configured { job: Box::new(job) });
    }
    board
}

fn put(board: &mut Board, job: &str, started: &str, state: RunState, change: impl FnOnce(&mut Run)) {
    let host = HostId::new("h");
    let id = RunId::new(&host, &format!("{job}@{started}"));
    let mut run = Run::begin(id, JobId::new(&host, job), Some(at(started)), at(started));
    run.state = state;
    change(&mut run);
    board.backups.apply(at(NOW), &BackupFact::Ended { run: Box::new(run) });
}

fn good(run: &mut Run) {
    run.duration_ms = Some(192_000);
    run.raw_bytes = Some(1_288_490_188);
    run.stored_bytes = Some(429_496_729);
    let copy = |destination: &str| CopyRow {
        destination: destination.into(),
        location: format!("/backup/{destination}/orders_backup_20261122T010000Z.sqlite.zst"),
        state: CopyState::Verified { at: at(NOW) },
    };
    run.copies = vec![copy("disk"), copy("nas")];
}

fn manifest(run: &Run) -> Manifest {
    Manifest {
        schema: 1,
        written_by: "hotseat".into(),
        job: "orders".into(),
        run: run.id.clone(),
        host: "h".into(),
        started: run.started,
        ended: run.started,
        duration_ms: 192_000,
        slot: run.slot,
        consistent_at: run.started,
        source_kind: "sqlite".into(),
        source: "/srv/orders.db".into(),
        source_version: "sqlite 3".into(),
        consistency: "backup API".into(),
        consistent: true,
        artefact: "orders_backup_20261122T010000Z.sqlite.zst".into(),
        raw_bytes: 1,
        stored_bytes: 1,
        sha256_raw: "a".repeat(64),
        sha256_stored: "b".repeat(64),
        restore_commands: vec!["zstd -dc x > y".into()],
    }
}

fn cx<'a>(board: &'a Board, width: u16, height: u16) -> Context<'a> {
    Context {
        now: at(NOW),
        zone: const { &TimeZone::UTC },
        board,
        width,
        height,
        focused: true,
        me: "alice",
        reach: Default::default(),
    }
}

fn screen(pane: &BackupsPane, cx: &Context<'_>, theme: &Theme) -> Vec<String> {
    let area = Rect::new(0, 0, cx.width, cx.height);
    let mut buf = Buffer::empty(area);
    pane.view(cx, theme, area, &mut buf);
    let row = |y| (0..cx.width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_string();
    (0..cx.height).map(row).collect()
}

#[test]
fn every_state_says_in_words_what_it_is() {
    let mut board = board(&["orders"]);
    put(&mut board, "orders", "2026-11-18T01:00:00Z", RunState::Ok, |run| {
        good(run);
        run.raw_bytes = Some(1_283_000_000);
        run.copies[1].state = CopyState::Corrupt { error: "the sha256 of the stored bytes differs".into() };
    });
    put(&mut board, "orders", "2026-11-19T01:00:00Z", RunState::Missed, |run| {
        run.error = Some("hotseat was not running".into());
    });
    put(&mut board, "orders", "2026-11-20T01:00:00Z", RunState::Interrupted, |run| {
        run.error = Some("it was cut off".into())
    });
    put(&mut board, "orders", "2026-11-21T01:00:00Z", RunState::Failed, |run| {
        run.error = Some("`disk`: no space left on device\u{1b}[2J".into());
    });
    put(&mut board, "orders", "2026-11-22T01:00:00Z", RunState::Ok, good);
    let pane = BackupsPane::default();
    let expected = [
        "o orders  01:00:00      13h ago   3m12s   1.2G Δ+0.4%    disk✓ nas✓  verified",
        "x orders  11-21 01:00   37h ago  failed: `disk`: no space left on device",
        "! orders  11-20 01:00    2d ago  interrupted: it was cut off",
        "! orders  11-19 01:00    3d ago  missed: hotseat was not running",
        "x orders  11-18 01:00    4d ago   3m12s   1.2G           disk✓ nas✗  corrupt",
    ];
    assert_eq!(screen(&pane, &cx(&board, 90, 5), &Theme::mono()), expected);
    let ascii = screen(&pane, &cx(&board, 90, 5), &Theme::mono().with_ascii(true));
    assert!(ascii.iter().all(|it| it.is_ascii()), "{ascii:?}");
    assert!(ascii[4].contains("disk:ok nas:x"));
}

#[test]
fn a_running_backup_is_on_top_with_a_bar() {
    let mut board = board(&["orders"]);
    put(&mut board, "orders", "2026-11-22T01:00:00Z", RunState::Ok, good);
    put(&mut board, "orders", "2026-11-22T13:59:00Z", RunState::Running, |_| {});
    let job = JobId::new(&HostId::new("h"), "orders");
    let run = board.backups.jobs[0].runs[0].id.clone();
    let progress = Progress { stage: Stage::Storing, done_bytes: 50 << 20, total_bytes: Some(100 << 20) };
    board.backups.apply(at(NOW), &BackupFact::Progressed { job, run, progress });
    let rows = screen(&BackupsPane::default(), &cx(&board, 80, 2), &Theme::mono().with_ascii(true));
    assert_eq!(rows[0], "~ orders  storing    50% [#########         ]  50M of 100M");
}

#[test]
fn with_little_room_every_job_has_one_row() {
    let mut board = board(&["orders", "users", "files"]);
    for day in 10..20 {
        put(&mut board, "orders", &format!("2026-11-{day}T01:00:00Z"), RunState::Ok, good);
    }
    put(&mut board, "users", "2026-11-02T01:00:00Z", RunState::Failed, |_| {});
    let rows = screen(&BackupsPane::default(), &cx(&board, 80, 3), &Theme::mono());
    let names: Vec<&str> = rows.iter().map(|it| it.split_whitespace().nth(1).unwrap_or_default()).collect();
    assert_eq!(names, ["orders", "users", "files"]);
    assert_eq!(screen(&BackupsPane::default(), &cx(&board, 80, 12), &Theme::mono()).len(), 12);
}

#[test]
fn the_selection_stays_on_its_run_when_rows_arrive_above() {
    let mut board = board(&["orders"]);
    for day in 10..20 {
        put(&mut board, "orders", &format!("2026-11-{day}T01:00:00Z"), RunState::Ok, good);
    }
    let mut pane = BackupsPane::default();
    for _ in 0..5 {
        pane.update(&cx(&board, 80, 3), BackupsCommand::Down);
    }
    let before = pane.subject(&cx(&board, 80, 3));
    put(&mut board, "orders", "2026-11-21T01:00:00Z", RunState::Ok, good);
    assert_eq!(pane.subject(&cx(&board, 80, 3)), before);
    assert!(screen(&pane, &cx(&board, 80, 3), &Theme::mono()).iter().any(|it| it.contains("11-14 01:00")));
    pane.update(&cx(&board, 80, 3), BackupsCommand::Top);
    assert!(screen(&pane, &cx(&board, 80, 3), &Theme::mono())[0].contains("11-21 01:00"));
    pane.update(&cx(&board, 80, 3), BackupsCommand::Bottom);
    assert!(screen(&pane, &cx(&board, 80, 3), &Theme::mono())[2].contains("11-10 01:00"));
}

#[test]
fn the_detail_shows_the_restore_commands_and_copies_them_from_the_folder_of_a_whole_copy() {
    let mut board = board(&["orders"]);
    put(&mut board, "orders", "2026-11-22T01:00:00Z", RunState::Ok, |run| {
        good(run);
        run.copies[0].state = CopyState::Corrupt { error: "x".into() };
        run.manifest = Some(Box::new(manifest(run)));
    });
    let mut pane = BackupsPane::default();
    assert!(!pane.wants_zoom());
    pane.update(&cx(&board, 80, 30), BackupsCommand::Detail);
    assert!(pane.wants_zoom());
    let text = screen(&pane, &cx(&board, 80, 30), &Theme::mono()).join("\n");
    assert!(text.contains("restore (y)    cd /backup/nas\n"), "{text}");
    assert!(text.contains(&"b".repeat(64)), "{text}");
    let effects = pane.update(&cx(&board, 80, 30), BackupsCommand::Copy);
    let expected = Effect::Copy { text: "cd /backup/nas\nzstd -dc x > y\n".into(), what: "restore commands".into() };
    assert_eq!(effects, [expected]);
    pane.update(&cx(&board, 80, 5), BackupsCommand::Bottom);
    assert!(screen(&pane, &cx(&board, 80, 5), &Theme::mono())[4].contains("zstd -dc x > y"));
    assert!(pane.back(&cx(&board, 80, 30)));
    assert!(!pane.back(&cx(&board, 80, 30)));
}

#[test]
fn run_now_and_verify_ask_for_the_selected_job_and_run() {
    let mut board = board(&["orders", "users"]);
    put(&mut board, "orders", "2026-11-22T01:00:00Z", RunState::Ok, good);
    put(&mut board, "users", "2026-11-21T01:00:00Z", RunState::Failed, |_| {});
    let mut pane = BackupsPane::default();
    fn view(board: &Board) -> Context<'_> {
        cx(board, 80, 10)
    }
    let requests = |effects: Vec<Effect>| -> Vec<Request> {
        effects.into_iter().filter_map(|it| if let Effect::Request(it) = it { Some(it) } else { None }).collect()
    };
    let job = |name| JobId::new(&HostId::new("h"), name);
    assert_eq!(requests(pane.update(&view(&board), BackupsCommand::Run)), [Request::RunBackup(job("orders"))]);
    let run = RunId::new(&HostId::new("h"), "orders@2026-11-22T01:00:00Z");
    assert_eq!(requests(pane.update(&view(&board), BackupsCommand::Verify)), [Request::VerifyBackup(run)]);
    pane.update(&view(&board), BackupsCommand::Down);
    assert_eq!(requests(pane.update(&view(&board), BackupsCommand::Run)), [Request::RunBackup(job("users"))]);
    assert_eq!(requests(pane.update(&view(&board), BackupsCommand::Verify)), []);
    put(&mut board, "users", "2026-11-22T13:00:00Z", RunState::Running, |_| {});
    pane.update(&view(&board), BackupsCommand::Top);
    assert_eq!(requests(pane.update(&view(&board), BackupsCommand::Run)), []);
}

#[test]
fn an_empty_pane_says_how_to_get_a_job() {
    let board = Board::default();
    let rows = screen(&BackupsPane::default(), &cx(&board, 80, 7), &Theme::mono());
    assert!(rows[0].contains("hotseat init") && rows[2] == "[[backup]]");
}

#[test]
fn a_screen_that_stands_by_says_who_runs_the_backups() {
    let mut board = Board::default();
    assert!(screen(&BackupsPane::default(), &cx(&board, 80, 3), &Theme::mono())[0].starts_with("no backup jobs"));
    board.standby = Some("pid 7".into());
    let mut pane = BackupsPane::default();
    assert_eq!(screen(&pane, &cx(&board, 80, 3), &Theme::mono()), [rows::elsewhere("alice"), "", ""]);
    assert_eq!(pane.update(&cx(&board, 80, 3), BackupsCommand::Run), [Notice::warn(rows::elsewhere("alice"))]);
}

#[test]
fn what_there_is_to_do_without_a_job_is_not_cut_in_a_narrow_pane() {
    let shown = screen(&BackupsPane::default(), &cx(&Board::default(), 40, 8), &Theme::mono());
    assert_eq!(shown[..2], ["no backup jobs: run `hotseat init`, then", "add one to the config"]);
    assert_eq!(shown[3], "[[backup]]");
}
