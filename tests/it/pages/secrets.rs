//! No secret on disk, on the screen or in what a command prints: every kind with one, against peers that repeat
//! whatever they are sent, which is the worst that a peer can do.

use crate::pages::{assert_nowhere, wait};
use crate::support::pty::{Launch, Pty, said};
use crate::support::web::{Asked, Said, Web};

/// Where a secret can stand in a config; each is the variable `SECRET_…` and a value of its own.
const PLACES: &[&str] = &[
    "QUERY",
    "BASIC",
    "USERINFO",
    "BEARER",
    "HEADER",
    "JSON",
    "FORM",
    "PROXY",
    "WEBSOCKET",
    "GRPC",
    "SCRIPT",
    "COMMAND",
    "PROMETHEUS",
    "MONITOR",
    "JOURNEY",
    "BEAT",
    "TWILIO",
    "SLACK",
    "PAGERDUTY",
    "SMTP",
    "NTFY",
    "HOOK",
    "HOOKHEADER",
    "TEAM",
    "PROGRAM",
    "SAIDQUERY",
    "SAIDBEARER",
    "SAIDBASIC",
    "SAIDHEADER",
    "SAIDTOKEN",
    "SAIDEXPECT",
    "ARGV",
    "COMPLAINT",
    "QUESTION",
    "NAME",
    "MEMBER",
    "SOCKET",
    "TALK",
    "CALLED",
    "LOG",
];

fn secret(place: &str) -> String {
    // Long enough to be found by itself, and nothing that occurs by chance.
    // A routing key has 32 letters and digits.
    format!("{:0<32}", format!("zq{}7f3a9c1e5b8d", place.to_lowercase()))
}

/// The secret as such and in a login by `Basic`; percent-encoded it is the same.
fn forms(place: &str) -> Vec<String> {
    use base64::Engine as _;
    let encode = |it: String| base64::engine::general_purpose::STANDARD.encode(it);
    vec![secret(place), encode(format!("u:{}", secret(place))).trim_end_matches('=').to_string()]
}

/// Answers with an error that repeats the whole request, in the body and in a header.
fn parrot(asked: &Asked) -> Said {
    let authorization = asked.header("authorization").unwrap_or_default().to_string();
    match asked.path.as_str() {
        // What a comparison finds is put into words: it is as bad a place for a secret as any.
        "/said" => return Said { headers: vec![("x-auth", authorization.clone())], ..Said::json(authorization) },
        "/said-query" => return Said::json(asked.parameter("x").unwrap_or_default()),
        "/said-json" => return Said::json(&asked.body),
        _ => {}
    }
    let query: Vec<String> = asked.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let body = format!(
        "{{\"error\": \"{} {}?{} {} {}\"}}",
        asked.method,
        asked.path,
        query.join("&"),
        headers.join(" "),
        asked.body.replace(['"', '\\', '\n', '\r'], " ")
    );
    let repeated = headers.join(" ").replace(['\r', '\n'], " ");
    Said { headers: vec![("x-repeated", repeated)], ..Said::status(500, body) }
}

fn config(url: &str, host: &str) -> String {
    format!(
        r#"
[beat]
listen = "127.0.0.1:0"
token = "${{env:SECRET_BEAT}}"
[defaults]
interval = "1s"
retry = "1s"
fail = "1/1"
notify = ["sms", "chat", "page", "mail", "phone", "hook", "team", "rest", "called"]
[[log]]
name = "said"
command = ["/bin/sh", "-c", "exit 3", "x", "${{env:SECRET_LOG}}"]
[[probe]]
name = "query"
http = {{ url = "{url}a?token=${{env:SECRET_QUERY}}", basic = {{ user = "u", password = "${{env:SECRET_BASIC}}" }} }}
[[probe]]
name = "userinfo"
http = "http://u:${{env:SECRET_USERINFO}}@{host}/b"
[[probe]]
name = "bearer"
http = {{ url = "{url}c", bearer = "${{env:SECRET_BEARER}}", headers = {{ X-Api-Key = "${{env:SECRET_HEADER}}" }} }}
[[probe]]
name = "json"
http = {{ url = "{url}d", method = "POST", json = {{ user = "u", password = "${{env:SECRET_JSON}}" }} }}
[[probe]]
name = "form"
http = {{ url = "{url}e", method = "POST", body = "user=u&password=${{env:SECRET_FORM}}" }}
[[probe]]
name = "proxy"
http = {{ url = "http://203.0.113.9/f", proxy = "http://u:${{env:SECRET_PROXY}}@{host}" }}
[[probe]]
name = "websocket"
websocket = {{ url = "ws://{host}/ws", bearer = "${{env:SECRET_WEBSOCKET}}" }}
[[probe]]
name = "grpc"
grpc = {{ address = "{host}", metadata = {{ authorization = "Bearer ${{env:SECRET_GRPC}}" }} }}
[[probe]]
name = "script"
tcp = {{ address = "{host}", script = [{{ send = "GET /?${{env:SECRET_SCRIPT}} HTTP/1.0\r\n\r\n" }}, {{ expect = "^never" }}] }}
timeout = "500ms"
[[probe]]
name = "said-query"
http = "{url}said-query?x=${{env:SECRET_SAIDQUERY}}"
expect = "body contains 'nothing'"
[[probe]]
name = "said-bearer"
http = {{ url = "{url}said", bearer = "${{env:SECRET_SAIDBEARER}}" }}
expect = "body contains 'nothing'"
[[probe]]
name = "said-basic"
http = {{ url = "{url}said", basic = {{ user = "u", password = "${{env:SECRET_SAIDBASIC}}" }} }}
expect = "header.x-auth == 'nothing'"
[[probe]]
name = "said-header"
http = {{ url = "{url}said", headers = {{ Authorization = "Digest ${{env:SECRET_SAIDHEADER}}" }} }}
expect = "body == 'nothing'"
[[probe]]
name = "said-token"
http = {{ url = "{url}said-json", method = "POST", json = {{ access_token = "${{env:SECRET_SAIDTOKEN}}" }} }}
expect = ["json.access_token == 'nothing'", "body == 'nothing'"]
[[probe]]
name = "said-expect"
http = "{url}said"
expect = "body == '${{env:SECRET_SAIDEXPECT}}'"
[[probe]]
name = "command"
command = {{ argv = ["/bin/sh", "-c", "echo \"no login with $PASSWORD\"; exit 2"], env = {{ PASSWORD = "${{env:SECRET_COMMAND}}" }} }}
[[probe]]
name = "metrics"
prometheus = {{ url = "{url}", query = "up", bearer = "${{env:SECRET_PROMETHEUS}}" }}
[[probe]]
name = "monitor"
alertmanager = {{ url = "{url}", basic = {{ user = "u", password = "${{env:SECRET_MONITOR}}" }} }}
[[probe]]
name = "journey"
journey = [{{ http = {{ url = "{url}login", method = "POST", json = {{ password = "${{env:SECRET_JOURNEY}}" }} }} }}]
[[probe]]
name = "argv"
command = ["/bin/sh", "-c", "echo \"no $1 here\"; exit 2", "check_pgsql", "-p${{env:SECRET_ARGV}}"]
[[probe]]
name = "complaint"
command = ["/bin/sh", "-c", "echo \"no $1 here\" >&2; exit 1", "check_pgsql", "${{env:SECRET_COMPLAINT}}"]
[[probe]]
name = "question"
prometheus = {{ url = "{url}", query = "up{{token='${{env:SECRET_QUESTION}}'}}" }}
[[probe]]
name = "name"
dns = {{ name = "${{env:SECRET_NAME}}.example.com", server = "{host}" }}
[[probe]]
name = "member"
grpc = {{ address = "{host}", service = "${{env:SECRET_MEMBER}}" }}
[[probe]]
name = "socket"
websocket = "ws://{host}/said/${{env:SECRET_SOCKET}}"
[[probe]]
name = "talk"
tcp = {{ address = "{host}", script = [{{ send = "GET /talk HTTP/1.0\r\n\r\n" }}, {{ expect = "^${{env:SECRET_TALK}}" }}] }}
timeout = "500ms"
[[notifier]]
wait = "0s"
name = "called"
command = ["/bin/sh", "-c", "echo \"refused with $1\" >&2; exit 1", "x", "https://chat.example/${{env:SECRET_CALLED}}"]
[[notifier]]
wait = "0s"
name = "sms"
twilio = {{ url = "{url}", account = "AC0123456789abcdef0123456789abcdef", token = "${{env:SECRET_TWILIO}}", from = "+15557654321", to = ["+15551230000"] }}
[[notifier]]
wait = "0s"
name = "chat"
slack = "{url}services/T0/B0/${{env:SECRET_SLACK}}"
[[notifier]]
wait = "0s"
name = "page"
pagerduty = {{ url = "{url}", key = "${{env:SECRET_PAGERDUTY}}" }}
[[notifier]]
wait = "0s"
name = "mail"
smtp = {{ host = "127.0.0.1", port = 1, tls = "starttls", user = "u", password = "${{env:SECRET_SMTP}}", from = "h@example.com", to = ["a@example.com"] }}
[[notifier]]
wait = "0s"
name = "phone"
ntfy = {{ url = "{url}oncall", token = "${{env:SECRET_NTFY}}" }}
[[notifier]]
wait = "0s"
name = "hook"
webhook = {{ url = "${{env:HOOK_URL}}", secret = "${{env:SECRET_HOOK}}", headers = {{ X-Key = "${{env:SECRET_HOOKHEADER}}" }} }}
[[notifier]]
wait = "0s"
name = "team"
alertmanager = {{ url = "{url}", token = "${{env:SECRET_TEAM}}" }}
[[notifier]]
wait = "0s"
name = "rest"
command = {{ argv = ["/bin/sh", "-c", "echo \"refused with $PASSWORD\" >&2; exit 1"], env = {{ PASSWORD = "${{env:SECRET_PROGRAM}}" }} }}
"#
    )
}

#[test]
fn no_secret_is_written_shown_or_printed_also_when_peers_repeat_it() {
    let web = Web::start(parrot);
    let text = config(&format!("{}/", web.url()), &web.address.to_string());
    // The URL of a webhook counts as a secret, and must not be written out.
    let hook = format!("{}/hook", web.url());
    let with_secrets =
        |launch: Launch| PLACES.iter().fold(launch, |launch, it| launch.variable(&format!("SECRET_{it}"), &secret(it)));
    let launch = Launch::new(&["-vvv"]).size(160, 50).config(&text).variable("HOOK_URL", &hook);
    let mut pty = with_secrets(launch).start();
    pty.wait_for("userinfo");
    let asked = |path: &str| web.asked().iter().any(|it| it.path.starts_with(path));
    for path in [
        "/a",
        "/b",
        "/c",
        "/d",
        "/e",
        "/ws",
        "/login",
        "/api/v1/query",
        "/api/v2/alerts",
        "/2010",
        "/services",
        "/hook",
    ] {
        wait(path, || asked(path));
    }
    let shown = |text: &str| {
        for place in PLACES {
            for form in forms(place) {
                assert!(!text.contains(&form), "SECRET_{place} is shown:\n{text}");
            }
        }
    };
    // Every probe's detail and explanation, the notifiers.
    for _ in 0..27 {
        shown(&pty.text());
        pty.keys("\r");
        pty.wait_for("settings");
        shown(&pty.text());
        pty.keys("G");
        shown(&pty.text());
        pty.keys("x");
        pty.wait_for("paged");
        shown(&pty.text());
        // One at a time: an Esc with a key right behind it is Alt and that key.
        pty.keys("\x1b");
        pty.wait_for("settings");
        pty.keys("\x1b");
        pty.wait_for("enter detail");
        pty.keys("j");
    }
    for arguments in [
        &["check"][..],
        &["doctor"],
        &["explain", "query"],
        &["explain", "command"],
        &["explain", "said-bearer"],
        &["explain", "argv"],
        &["explain", "complaint"],
        &["explain", "question"],
        &["alerts"],
        &["status"],
    ] {
        let (_, printed) = beside(&pty, &hook, arguments);
        shown(&printed);
    }
    for name in [
        "query",
        "userinfo",
        "bearer",
        "json",
        "form",
        "proxy",
        "websocket",
        "grpc",
        "script",
        "command",
        "metrics",
        "monitor",
        "journey",
        "said-query",
        "said-bearer",
        "said-basic",
        "said-header",
        "said-token",
        "said-expect",
        "argv",
        "complaint",
        "question",
        "name",
        "member",
        "socket",
        "talk",
        "place",
    ] {
        let (code, printed) = beside(&pty, &hook, &["probe", name]);
        assert_ne!(code, Some(0), "{name}: {printed}");
        shown(&printed);
    }
    for name in ["sms", "chat", "page", "mail", "phone", "hook", "team", "rest", "called"] {
        let (code, printed) = beside(&pty, &hook, &["test-notify", name]);
        assert_ne!(code, Some(0), "{name}: {printed}");
        shown(&printed);
    }
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
    for place in PLACES {
        for form in forms(place) {
            assert_nowhere(pty.home(), &form);
        }
    }
}

/// A command beside the screen, with the secrets in its environment.
fn beside(pty: &Pty, hook: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = pty.command(arguments);
    command.env("HOOK_URL", hook);
    command.envs(PLACES.iter().map(|it| (format!("SECRET_{it}"), secret(it))));
    said(&mut command)
}
