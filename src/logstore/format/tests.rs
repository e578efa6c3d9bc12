//! Every format with lines as its programs write them: time, level, fields, message, and what a record is.

use jiff::tz::TimeZone;

use super::*;
use crate::domain::log::Level;
use crate::domain::query::field;
use crate::logstore::level;
use crate::logstore::record::split;

/// What one record must be: its text, time, level and fields.
struct Case<'a> {
    record: &'a str,
    time: Option<&'a str>,
    level: Option<Level>,
    fields: &'a [(&'a str, &'a str)],
}

fn case<'a>(
    record: &'a str,
    time: impl Into<Option<&'a str>>,
    level: impl Into<Option<Level>>,
    fields: &'a [(&'a str, &'a str)],
) -> Case<'a> {
    Case { record, time: time.into(), level: level.into(), fields }
}

/// Checks that the records, one behind the other, are split and read as they should be.
fn check(reading: &Reading, cases: &[Case<'_>]) {
    let text: String = cases.iter().map(|it| format!("{}\n", it.record)).collect();
    let reference = "2026-08-20T00:00:00Z".parse().unwrap();
    let zone = TimeZone::fixed(jiff::tz::offset(8));
    let spans = split(text.as_bytes(), 0, &mut reading.stamp_reader(&zone, reference));
    let found: Vec<&str> =
        spans.iter().map(|it| text[it.start as usize..it.end as usize].trim_end_matches('\n')).collect();
    let expected: Vec<&str> = cases.iter().map(|it| it.record.trim_end_matches('\n')).collect();
    assert_eq!(found, expected);
    for (span, case) in spans.iter().zip(cases) {
        let record = &text.as_bytes()[span.start as usize..span.end as usize];
        let time = (span.has_time).then(|| Timestamp::from_nanosecond(i128::from(span.nanos)).unwrap().to_string());
        assert_eq!(time.as_deref(), case.time, "time of {}", case.record);
        let stamp_end = usize::from(span.stamp_end);
        assert_eq!(
            level::read(record, text::first_line(record).len(), stamp_end, reading.user_format()),
            case.level,
            "level of {}",
            case.record
        );
        for (name, value) in case.fields {
            let found = fields::find(record, stamp_end, reading, name);
            let found = found.map(|it| String::from_utf8_lossy(&it).into_owned());
            assert_eq!(found.as_deref(), (*value != "∅").then_some(*value), "{name} of {}", case.record);
        }
    }
}

const T: &str = "2026-08-19T06:30:01Z";
const MS: &str = "2026-08-19T06:30:01.123Z";
const US: &str = "2026-08-19T06:30:01.123456Z";

#[test]
fn json_of_the_usual_loggers() {
    check(
        &Reading::default(),
        &[
            // zap
            case(
                r#"{"level":"error","ts":1787121001.123,"caller":"api/main.go:10","msg":"pool exhausted","latency":0.25,"http":{"status":502}}"#,
                MS,
                Level::Error,
                &[
                    ("msg", "pool exhausted"),
                    ("message", "pool exhausted"),
                    ("http.status", "502"),
                    ("status", "502"),
                    ("latency", "0.25"),
                    ("nope", "∅"),
                ],
            ),
            // pino
            case(
                r#"{"level":30,"time":1787121001123,"pid":7,"hostname":"web","msg":"listening","req":{"url":"/a\/b"}}"#,
                MS,
                Level::Info,
                &[("req.url", "/a/b"), ("pid", "7")],
            ),
            // logrus
            case(
                r#"{"level":"warning","msg":"slow \"query\"","time":"2026-08-19T14:30:01+08:00","user":"sid"}"#,
                T,
                Level::Warn,
                &[("user", "sid"), ("msg", "slow \"query\"")],
            ),
            // bunyan
            case(
                r#"{"name":"app","hostname":"web","pid":1,"level":60,"msg":"gone","time":"2026-08-19T06:30:01.123Z","v":0}"#,
                MS,
                Level::Fatal,
                &[("name", "app")],
            ),
            // serilog, compact
            case(
                r#"{"@t":"2026-08-19T06:30:01.1230000Z","@mt":"User {User} in","@l":"Warning","User":"bob"}"#,
                MS,
                Level::Warn,
                &[("user", "bob"), ("message", "User {User} in")],
            ),
            case(r#"{"@t":"2026-08-19T06:30:01.1230000Z","@m":"Hi","@i":"1"}"#, MS, Level::Info, &[("message", "Hi")]),
            // tracing
            case(
                r#"{"timestamp":"2026-08-19T06:30:01.123456Z","level":"DEBUG","fields":{"message":"begin","user":"x"},"target":"app::db"}"#,
                US,
                Level::Debug,
                &[("message", "begin"), ("user", "x"), ("target", "app::db")],
            ),
            // ECS
            case(
                r#"{"@timestamp":"2026-08-19T06:30:01.123Z","log.level":"ERROR","message":"no","service.name":"api","http":{"response":{"status_code":500}}}"#,
                MS,
                Level::Error,
                &[("status_code", "500"), ("service.name", "api"), ("name", "api")],
            ),
            // journald
            case(
                r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1787121001123456","PRIORITY":"3","_SYSTEMD_UNIT":"api.service","MESSAGE":"failed"}"#,
                US,
                Level::Error,
                &[("message", "failed"), ("_SYSTEMD_UNIT", "api.service")],
            ),
            case(
                r#"{"PRIORITY":"6","MESSAGE":[104,105],"__REALTIME_TIMESTAMP":"1787121001123456"}"#,
                US,
                Level::Info,
                &[("message", "hi")],
            ),
            // GELF, docker, structlog
            case(
                r#"{"version":"1.1","short_message":"x","level":4,"timestamp":1787121001.123,"_user":"a"}"#,
                MS,
                Level::Warn,
                &[("_user", "a"), ("message", "x")],
            ),
            case(
                r#"{"log":"boom\n","stream":"stderr","time":"2026-08-19T06:30:01.123456Z"}"#,
                US,
                None,
                &[("stream", "stderr"), ("message", "boom\n")],
            ),
            case(
                r#"{"event": "hi", "level": "info", "timestamp": "2026-08-19T06:30:01Z"}"#,
                T,
                Level::Info,
                &[("message", "hi")],
            ),
            // an object behind a header
            case(
                r#"2026-08-19T06:30:01Z stdout F {"level":"error","msg":"x","status":500}"#,
                T,
                Level::Error,
                &[("status", "500"), ("msg", "x")],
            ),
            // text behind it, as container runtimes write it
            case(
                "2026-08-19T06:30:01Z stderr F ERROR cart: no stock user=sid",
                T,
                Level::Error,
                &[("stream", "stderr"), ("logger", "cart"), ("message", "no stock user=sid"), ("user", "sid")],
            ),
            case("2026-08-19T06:30:01Z stdout F I0819 06:30:01.123456 1 main.go:10] up", T, Level::Info, &[]),
            // without a time
            case(r#"{"level":"info","msg":"no time"}"#, None, Level::Info, &[("msg", "no time")]),
        ],
    );
}

#[test]
fn indented_json_is_one_record_with_its_time() {
    check(
        &Reading::default(),
        &[
            case(
                "{\n  \"time\": \"2026-08-19T06:30:01Z\",\n  \"level\": \"error\",\n  \"msg\": \"x\",\n  \"tags\": [\n    1\n  ]\n}",
                T,
                Level::Error,
                &[("msg", "x")],
            ),
            case("{\n  \"msg\": \"y\"\n}", None, None, &[("msg", "y")]),
        ],
    );
}

#[test]
fn logfmt() {
    check(
        &Reading::default(),
        &[
            case(
                "ts=2026-08-19T06:30:01.123Z level=error msg=\"a \\\"b\\\" c\" user=sid latency=250ms empty= path=/x,",
                MS,
                Level::Error,
                &[
                    ("message", "a \"b\" c"),
                    ("user", "sid"),
                    ("latency", "250ms"),
                    ("empty", ""),
                    ("path", "/x"),
                    ("ser", "∅"),
                ],
            ),
            case("level=info ts=1787121001.123 caller=main.go:1 msg=hi", MS, Level::Info, &[("caller", "main.go:1")]),
            case("time=\"2026-08-19T14:30:01+08:00\" level=warning msg=\"x y\"", T, Level::Warn, &[("msg", "x y")]),
        ],
    );
}

#[test]
fn access_lines() {
    check(
        &Reading::default(),
        &[
            case(
                "10.0.0.1 - bob [19/Aug/2026:14:30:01 +0800] \"GET /a/b?q=1 HTTP/1.1\" 502 1534 \"https://x/\" \"curl/8 (a b)\" rt=0.250",
                T,
                Level::Error,
                &[
                    ("client", "10.0.0.1"),
                    ("user", "bob"),
                    ("status", "502"),
                    ("bytes", "1534"),
                    ("method", "GET"),
                    ("path", "/a/b"),
                    ("query", "q=1"),
                    ("protocol", "HTTP/1.1"),
                    ("referer", "https://x/"),
                    ("agent", "curl/8 (a b)"),
                    ("rt", "0.250"),
                    ("url", "/a/b?q=1"),
                    ("vhost", "∅"),
                ],
            ),
            case(
                "::1 - - [19/Aug/2026:06:30:01 +0000] \"-\" 408 0",
                T,
                Level::Warn,
                &[("client", "::1"), ("status", "408"), ("request", "-")],
            ),
            case(
                "www.x.org:443 10.0.0.1 - - [19/Aug/2026:06:30:01 +0000] \"POST / HTTP/2.0\" 200 5 \"-\" \"-\"",
                T,
                Level::Info,
                &[("vhost", "www.x.org:443"), ("client", "10.0.0.1"), ("method", "POST")],
            ),
        ],
    );
}

#[test]
fn error_lines_of_web_servers() {
    check(
        &Reading::default(),
        &[
            case(
                "2026/08/19 14:30:01 [error] 7#8: *12 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.1, server: x.org, request: \"GET /a HTTP/1.1\", upstream: \"http://127.0.0.1:1/a\", host: \"x.org\"",
                T,
                Level::Error,
                &[
                    ("pid", "7"),
                    ("tid", "8"),
                    ("cid", "12"),
                    ("client", "10.0.0.1"),
                    ("server", "x.org"),
                    ("path", "/a"),
                    ("host", "x.org"),
                    ("upstream", "http://127.0.0.1:1/a"),
                    ("message", "connect() failed (111: Connection refused) while connecting to upstream"),
                ],
            ),
            case(
                "[Wed Aug 19 14:30:01.123456 2026] [proxy_http:error] [pid 7:tid 139] [client 10.0.0.1:4711] AH01114: HTTP: failed to make connection",
                US,
                Level::Error,
                &[
                    ("module", "proxy_http"),
                    ("pid", "7"),
                    ("tid", "139"),
                    ("client", "10.0.0.1"),
                    ("code", "AH01114"),
                    ("message", "HTTP: failed to make connection"),
                ],
            ),
            case(
                "[Wed Aug 19 14:30:01 2026] [notice] caught SIGTERM",
                T,
                Level::Info,
                &[("message", "caught SIGTERM")],
            ),
        ],
    );
}

#[test]
fn syslog_lines() {
    check(
        &Reading::default(),
        &[
            case(
                "Aug 19 14:30:01 web-1 sshd[812]: error: no keys user=root",
                T,
                Level::Error,
                &[
                    ("host", "web-1"),
                    ("app", "sshd"),
                    ("pid", "812"),
                    ("message", "error: no keys user=root"),
                    ("user", "root"),
                ],
            ),
            case(
                "<11>Aug 19 14:30:01 web-1 app: x",
                T,
                Level::Error,
                &[("host", "web-1"), ("app", "app"), ("pid", "∅")],
            ),
            case(
                "2026-08-19T14:30:01.123456+08:00 web-1 systemd[1]: Started x.",
                US,
                None,
                &[("host", "web-1"), ("app", "systemd"), ("message", "Started x.")],
            ),
            case(
                "<165>1 2026-08-19T06:30:01.123Z web-1 evnt 812 ID47 [ex@1 iut=\"3\" src=\"a \\\"b\\\" c\"][none][o@2 k=\"v\"] \u{feff}An event",
                MS,
                Level::Info,
                &[
                    ("host", "web-1"),
                    ("app", "evnt"),
                    ("pid", "812"),
                    ("msgid", "ID47"),
                    ("iut", "3"),
                    ("src", "a \"b\" c"),
                    ("k", "v"),
                    ("message", "An event"),
                ],
            ),
            case(
                "<34>1 - web-1 su - - - x failed",
                None,
                Level::Fatal,
                &[("host", "web-1"), ("app", "su"), ("pid", "∅"), ("message", "x failed")],
            ),
            // The year that is not written is the last one in which the day was not in the future.
            case("Dec 31 23:59:59 web-1 cron[1]: last year", "2025-12-31T15:59:59Z", None, &[("app", "cron")]),
            case("Jan  1 00:00:00 web-1 cron[1]: this year", "2025-12-31T16:00:00Z", None, &[("app", "cron")]),
        ],
    );
}

#[test]
fn klog_and_glog() {
    check(
        &Reading::default(),
        &[
            case(
                "E0819 14:30:01.123456    4711 server.go:10] \"Failed\" err=\"x y\" pod=\"a/b\"",
                US,
                Level::Error,
                &[("thread", "4711"), ("file", "server.go:10"), ("err", "x y"), ("pod", "a/b")],
            ),
            case("I0819 14:30:01.123456 1 main.go:1] plain", US, Level::Info, &[("message", "plain")]),
        ],
    );
}

#[test]
fn java_loggers() {
    check(
        &Reading::default(),
        &[
            case(
                "2026-08-19 14:30:01,123 ERROR [main] com.x.Pool - exhausted waiting=812\njava.lang.X: y\n\tat a.B(C.java:1)\nCaused by: z\n\t... 3 more",
                MS,
                Level::Error,
                &[
                    ("thread", "main"),
                    ("logger", "com.x.Pool"),
                    ("message", "exhausted waiting=812"),
                    ("waiting", "812"),
                ],
            ),
            case(
                "2026-08-19T14:30:01.123+08:00  WARN 7 --- [api] [nio-1] o.s.web.Servlet    : slow",
                MS,
                Level::Warn,
                &[
                    ("pid", "7"),
                    ("app", "api"),
                    ("thread", "nio-1"),
                    ("logger", "o.s.web.Servlet"),
                    ("message", "slow"),
                ],
            ),
            case(
                "2026-08-19T14:30:01.123+08:00 WARN  [gateway] [worker-4] handled took_ms=29",
                MS,
                Level::Warn,
                &[("logger", "gateway"), ("thread", "worker-4"), ("message", "handled took_ms=29")],
            ),
            case(
                "2026-08-19T14:30:01.123+08:00 WARN [worker-4] [gateway] handled",
                MS,
                Level::Warn,
                &[("logger", "gateway"), ("thread", "worker-4"), ("message", "handled")],
            ),
            case(
                "14:30:01.123 [main] INFO  c.x.App - up",
                MS,
                Level::Info,
                &[("thread", "main"), ("logger", "c.x.App"), ("message", "up")],
            ),
            case(
                "19-Aug-2026 14:30:01.123 SEVERE [main] org.x.Y.z failed",
                MS,
                Level::Error,
                &[("thread", "main"), ("message", "org.x.Y.z failed")],
            ),
        ],
    );
}

#[test]
fn python_loggers() {
    check(
        &Reading::default(),
        &[
            case(
                "2026-08-19 14:30:01,123 - app.db - ERROR - lost\nTraceback (most recent call last):\n  File \"x.py\", line 1, in f\n    g()\nValueError: bad",
                MS,
                Level::Error,
                &[("logger", "app.db"), ("message", "lost")],
            ),
            case(
                "2026-08-19 14:30:01,123 WARNING app.db: slow",
                MS,
                Level::Warn,
                &[("logger", "app.db"), ("message", "slow")],
            ),
            case(
                "[2026-08-19 14:30:01 +0800] [12] [INFO] Booting",
                T,
                Level::Info,
                &[("thread", "12"), ("message", "Booting")],
            ),
        ],
    );
    check(
        &Reading::default(),
        &[
            case("WARNING:root:careful", None, Level::Warn, &[("logger", "root"), ("message", "careful")]),
            case(
                "ERROR:a.b:x\nTraceback (most recent call last):\n  File \"x.py\", line 1, in f\n    g()\nValueError: bad\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\", line 3, in f\n    h()\nKeyError: 'k'",
                None,
                Level::Error,
                &[("logger", "a.b")],
            ),
            case("INFO:root:next", None, Level::Info, &[]),
        ],
    );
}

#[test]
fn databases() {
    check(
        &Reading::default(),
        &[
            case(
                "2026-08-19 06:30:01.123 UTC [812] app@orders ERROR:  duplicate key\n2026-08-19 06:30:01.123 UTC [812] app@orders DETAIL:  Key (id)=(1) already exists.\n2026-08-19 06:30:01.123 UTC [812] app@orders STATEMENT:  insert into t\n\tvalues (1)",
                MS,
                Level::Error,
                &[("pid", "812"), ("user", "app"), ("db", "orders"), ("message", "duplicate key")],
            ),
            case(
                "2026-08-19 06:30:01.123 UTC [7] LOG:  duration: 1234.500 ms  statement: select 'ERROR:'",
                MS,
                Level::Info,
                &[("pid", "7"), ("duration", "1234.500 ms")],
            ),
            case(
                "2026-08-19 14:30:01 CST [7] FATAL:  the database system is starting up",
                T,
                Level::Fatal,
                &[("message", "the database system is starting up")],
            ),
            case(
                "2026-08-19T06:30:01.123456Z 12 [Warning] [MY-010055] [Server] IP address could not be resolved",
                US,
                Level::Warn,
                &[
                    ("thread", "12"),
                    ("code", "MY-010055"),
                    ("subsystem", "Server"),
                    ("message", "IP address could not be resolved"),
                ],
            ),
            case(
                "2026-08-19 14:30:01 0 [Note] InnoDB: ready",
                T,
                Level::Info,
                &[("thread", "0"), ("message", "InnoDB: ready")],
            ),
            case("260819 14:30:01 [ERROR] mysqld: gone", T, Level::Error, &[]),
            case(
                "# Time: 2026-08-19T06:30:01.123456Z\n# User@Host: app[app] @ web-1 [10.0.0.1]  Id:    12\n# Query_time: 2.500000  Lock_time: 0.000100 Rows_sent: 1  Rows_examined: 900000\nSET timestamp=1787121001;\nselect *\nfrom t;",
                US,
                None,
                &[
                    ("user", "app"),
                    ("host", "web-1"),
                    ("Query_time", "2.500000"),
                    ("rows_examined", "900000"),
                    ("message", "select *\nfrom t;"),
                ],
            ),
            case(
                "812:M 19 Aug 2026 14:30:01.123 # Server initialized",
                MS,
                Level::Warn,
                &[("pid", "812"), ("role", "M"), ("message", "Server initialized")],
            ),
            case("812:C 19 Aug 2026 14:30:01.123 * Ready", MS, Level::Info, &[("role", "C"), ("message", "Ready")]),
        ],
    );
}

#[test]
fn haproxy_lines() {
    let http = "10.0.1.2:33317 [19/Aug/2026:14:30:01.123] http-in~ static/srv1 10/0/30/69/109 503 2750 - - SC-- 1/1/1/1/0 0/0 {1wt.eu} {} \"GET /index.html HTTP/1.1\"";
    let with_header = format!("Aug 19 14:30:01 lb haproxy[14389]: {http}");
    let fields = [
        ("client", "10.0.1.2"),
        ("port", "33317"),
        ("frontend", "http-in"),
        ("backend", "static"),
        ("server", "srv1"),
        ("status", "503"),
        ("bytes", "2750"),
        ("response_ms", "69"),
        ("total_ms", "109"),
        ("state", "SC--"),
        ("path", "/index.html"),
        ("method", "GET"),
    ];
    check(
        &Reading::default(),
        &[
            case(http, MS, Level::Error, &fields),
            case(&with_header, T, Level::Error, &fields),
            case(
                "Aug 19 14:30:01 lb haproxy[14389]: 10.0.1.2:33313 [19/Aug/2026:14:30:01.123] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0",
                T,
                None,
                &[("bytes", "212"), ("total_ms", "5007"), ("state", "--")],
            ),
            case(
                "Aug 19 14:30:01 lb haproxy[14389]: Server bck/srv1 is DOWN.",
                T,
                None,
                &[("message", "Server bck/srv1 is DOWN."), ("app", "haproxy")],
            ),
        ],
    );
}

#[test]
fn systemd_export() {
    check(
        &Reading::default(),
        &[
            case(
                "__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1787121001123456\n__MONOTONIC_TIMESTAMP=1\nPRIORITY=3\n_SYSTEMD_UNIT=api.service\nMESSAGE\n\u{7}\0\0\0\0\0\0\0one\ntwo\n_PID=812\n",
                US,
                Level::Error,
                &[("message", "one\ntwo"), ("unit", "api.service"), ("pid", "812")],
            ),
            case(
                "__CURSOR=s=1;i=3\n__REALTIME_TIMESTAMP=1787121001000000\nMESSAGE=next\nPRIORITY=6\n",
                T,
                Level::Info,
                &[("message", "next")],
            ),
        ],
    );
}

#[test]
fn seconds_since_the_epoch_and_their_parts() {
    check(
        &Reading::default(),
        &[
            case("1787121001 x", T, None, &[]),
            case("1787121001.123 x", MS, None, &[]),
            case("1787121001123 x", MS, None, &[]),
            case("1787121001123456 x", US, None, &[]),
            case("1787121001123456000 x", US, None, &[]),
            case("[1787121001] x", T, None, &[]),
            case("1787121001,1 x", "2026-08-19T06:30:01.1Z", None, &[]),
        ],
    );
}

#[test]
fn a_regex_of_the_config() {
    let format = UserFormat::new(
        "app",
        r"(?<time>\d+\.\d+\.\d+ \d+:\d+:\d+)\|(?<level>\w+)\|(?<Shop>\w+)\|(?<message>.*)",
        Some("%d.%m.%Y %H:%M:%S"),
    )
    .unwrap();
    let reading = Reading { format: Some(Format::User(Arc::new(format))), ..Reading::default() };
    check(
        &reading,
        &[
            case(
                "19.08.2026 14:30:01|error|Paris|no stock sku=7\ntrace of it",
                T,
                Level::Error,
                &[("shop", "Paris"), ("message", "no stock sku=7"), ("sku", "7")],
            ),
            case("19.08.2026 14:30:01|info|Rome|ok", T, Level::Info, &[("shop", "Rome")]),
        ],
    );
    let format = UserFormat::new("short", r"(?<time>\d\d/\d\d \d\d:\d\d) (?<message>.*)", Some("%m/%d %H:%M")).unwrap();
    let reading = Reading { format: Some(Format::User(Arc::new(format))), ..Reading::default() };
    check(
        &reading,
        &[
            case("08/19 14:30 x", "2026-08-19T06:30:00Z", None, &[]),
            case("12/31 00:00 x", "2025-12-30T16:00:00Z", None, &[]),
        ],
    );
}

#[test]
fn lines_without_any_time() {
    check(
        &Reading::default(),
        &[
            case("starting up", None, None, &[("message", "starting up")]),
            case("ERROR: disk full free=0", None, Level::Error, &[("free", "0"), ("message", "disk full free=0")]),
            case("done", None, None, &[]),
        ],
    );
    let plain = Reading { format: Some(Format::Plain), ..Reading::default() };
    check(&plain, &[case("2026-08-19 14:30:01 x", None, None, &[]), case("y", None, None, &[])]);
}

#[test]
fn a_zone_and_an_offset_move_the_times_of_a_source() {
    let reading = Reading { zone: Some(TimeZone::UTC), offset: SignedDuration::from_secs(-2), ..Reading::default() };
    check(&reading, &[case("2026-08-19 06:30:03 x", T, None, &[]), case("2026-08-19T14:30:03+08:00 x", T, None, &[])]);
}

#[test]
fn records_of_open_telemetry_have_a_time_a_level_and_a_message() {
    let record = r#"{"timeUnixNano":"1787121001123456000","observedTimeUnixNano":"1787121009000000000","severityNumber":17,"body":{"stringValue":"pool exhausted"},"traceId":"5b8e"}"#;
    let named = r#"{"severityText":"Warning","severityNumber":9,"timeUnixNano":"1787121001123456000","body":{"stringValue":"slow"}}"#;
    let export = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"1787121001123456000","severityNumber":21,"severityText":"Fatal","body":{"stringValue":"gone"}}]}]}]}"#;
    let unknown = r#"{"timeUnixNano":"1787121001123456000","severityNumber":0,"body":{"stringValue":"x"}}"#;
    check(
        &Reading::default(),
        &[
            case(record, US, Level::Error, &[("message", "pool exhausted"), ("traceId", "5b8e")]),
            case(named, US, Level::Warn, &[("msg", "slow")]),
            case(export, US, Level::Fatal, &[("message", "gone")]),
            case(unknown, US, None, &[("message", "x")]),
        ],
    );
}

/// A line of a collector's exporter: a resource with so many attributes, and records with these orders and severities.
fn exported(attributes: usize, records: &[(u32, u32)]) -> String {
    let attribute = |index| format!(r#"{{"key":"k8s.label.{index}","value":{{"stringValue":"some-value-{index}"}}}}"#);
    let resource: Vec<String> = (0..attributes).map(attribute).collect();
    let record = |(order, severity): &(u32, u32)| {
        format!(
            r#"{{"timeUnixNano":"17871210{severity:02}000000000","severityNumber":{severity},"body":{{"stringValue":"order {order} taken"}},"attributes":[{{"key":"order.id","value":{{"intValue":"{order}"}}}}]}}"#
        )
    };
    let records: Vec<String> = records.iter().map(record).collect();
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{}]}},"scopeLogs":[{{"scope":{{"name":"orders"}},"logRecords":[{}]}}]}}]}}"#,
        resource.join(","),
        records.join(",")
    )
}

#[test]
fn a_batch_of_open_telemetry_has_the_time_of_its_first_record_and_the_worst_level() {
    // A resource of a cluster has thousands of bytes of attributes, in front of all records.
    for attributes in [1, 80] {
        let line = exported(attributes, &[(7, 9), (8, 17), (9, 9)]);
        let fields =
            [("message", "order 7 taken"), ("order.id", "7, 8, 9"), ("id", "7, 8, 9"), ("scope.name", "orders")];
        check(&Reading::default(), &[case(&line, "2026-08-19T06:30:09Z", Level::Error, &fields)]);
    }
}

#[test]
fn every_record_of_a_batch_is_shown_and_found() {
    let line = exported(1, &[(7, 9), (8, 17)]);
    let known = readable::Known { time: true, level: true };
    let found = readable::read(line.as_bytes(), 0, &Reading::default(), known).unwrap();
    let lines: Vec<_> = found.lines.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    assert_eq!(
        lines,
        [
            // The line is of its level. Its time is that of the first.
            "order 8 taken order.id=8 scope.name=orders k8s.label.0=some-value-0",
            "  at 2026-08-19T06:30:17Z, and 1 more record on this line:",
            "  2026-08-19T06:30:09Z info order 7 taken order.id=7",
        ]
    );
    for (chip, expected) in [("order.id=7", true), ("order.id>=8", true), ("order.id=9", false), ("order.id>7", true)] {
        let (name, sign, length) = field::split(chip).unwrap();
        let test = field::FieldTest::new(name, sign, &chip[length..]).unwrap();
        assert_eq!(fields::passes(line.as_bytes(), 0, &Reading::default(), &test), expected, "{chip}");
    }
    // A batch is bounded as any record is.
    let many: Vec<(u32, u32)> = (0..2_000).map(|it| (it, 9)).collect();
    let found = readable::read(exported(1, &many).as_bytes(), 0, &Reading::default(), known).unwrap();
    assert!(found.lines.len() <= 500 && found.cut_bytes > 100_000, "{} {}", found.lines.len(), found.cut_bytes);
}

#[test]
fn a_time_of_day_alone_gets_its_date_from_the_last_writing() {
    check(
        &Reading::default(),
        &[
            case("14:30:01.123 [main] ERROR c.e.Api -- pool exhausted", MS, Level::Error, &[]),
            case("07:30:01,123 INFO  [main] x", "2026-08-19T23:30:01.123Z", Level::Info, &[]),
        ],
    );
}
