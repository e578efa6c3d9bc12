//! Real servers of a test alone: nginx and blackbox_exporter on free ports, always stopped.
//!
//! Shared with the benchmark of the probes, which looks at the same nginx.

#![allow(dead_code, reason = "the tests and the benchmark each use a part of it")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often a server is asked whether it listens: twenty seconds in all.
const ASKS: u32 = 1000;
/// Another program may take a free port before the server does.
const STARTS: u32 = 5;

/// Finds a program. Where it is not installed the test is skipped, unless peers are required.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{path}:/usr/sbin:/usr/local/sbin");
    let found = std::env::split_paths(&path).map(|it| it.join(name)).find(|it| it.is_file());
    if found.is_none() {
        assert!(std::env::var_os("HOTSEAT_REQUIRE_PEERS").is_none(), "`{name}` is not installed");
        // The harness shows it with `--nocapture`.
        let _ = std::io::stderr().write_all(format!("skipped: {name} not found\n").as_bytes());
    }
    found
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

/// A process that ends with this value.
pub struct Running {
    child: Child,
    _directory: Option<tempfile::TempDir>,
}

impl Running {
    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something listens there; `None` when the process ended instead.
    fn listening(mut self, port: u16) -> Option<Self> {
        for _ in 0..ASKS {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(self);
            }
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("a server listens on no port");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Certificates of an nginx, in PEM files.
pub struct Certificates {
    /// The server's certificate with its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs certificates of clients.
    pub authority: PathBuf,
}

/// A running nginx. `/health` answers at once, `/slow` has a body that takes its time, `/late` asks `upstream`,
/// `/r1` leads to `/r2` and that to `/health`, `/loop` to itself.
pub struct Nginx {
    /// The process.
    pub running: Running,
    /// HTTP/1.1 in the clear.
    pub plain: u16,
    /// HTTP/2 in the clear.
    pub h2c: u16,
    /// TLS, with HTTP/2 by choice.
    pub tls: u16,
    /// TLS that asks for a certificate.
    pub mutual: u16,
}

impl Nginx {
    /// Starts one; `None` where it is not installed.
    pub fn start(certificates: Option<&Certificates>, upstream: u16) -> Option<Self> {
        let program = program("nginx")?;
        for _ in 0..STARTS {
            let directory = tempfile::tempdir().expect("a directory");
            let [plain, h2c, tls, mutual] = [(); 4].map(|()| free_port());
            let config = config(directory.path(), [plain, h2c, tls, mutual], certificates, upstream);
            let file = directory.path().join("nginx.conf");
            fs::write(&file, config).expect("written");
            fs::write(directory.path().join("slow"), vec![b'x'; 40 << 10]).expect("written");
            let child = Command::new(&program)
                .arg("-p")
                .arg(directory.path())
                .arg("-c")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("nginx starts");
            let running = Running { child, _directory: Some(directory) };
            if let Some(running) = running.listening(plain) {
                return Some(Self { running, plain, h2c, tls, mutual });
            }
        }
        panic!("nginx does not start");
    }
}

fn config(directory: &Path, ports: [u16; 4], certificates: Option<&Certificates>, upstream: u16) -> String {
    let dir = directory.display();
    let [plain, h2c, tls, mutual] = ports;
    let locations = format!(
        "location /health {{ default_type application/json; return 200 '{{\"status\":\"ok\"}}'; }}
         location /r1 {{ return 302 /r2; }}
         location /r2 {{ return 301 /health; }}
         location /loop {{ return 302 /loop; }}
         location /error {{ add_header Set-Cookie 'sid=4711' always; return 503 'no backend'; }}
         location /slow {{ root {dir}; limit_rate 80k; limit_rate_after 1k; }}
         location /late {{ proxy_pass http://127.0.0.1:{upstream}; }}"
    );
    let mut servers = format!(
        "server {{ listen 127.0.0.1:{plain}; {locations} }}
         server {{ listen 127.0.0.1:{h2c} http2; {locations} }}"
    );
    if let Some(it) = certificates {
        let (certificate, key, authority) = (it.certificate.display(), it.key.display(), it.authority.display());
        servers.push_str(&format!(
            "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_session_tickets off;
             server {{ listen 127.0.0.1:{tls} ssl http2; {locations} }}
             server {{ listen 127.0.0.1:{mutual} ssl; ssl_verify_client on; ssl_client_certificate {authority}; {locations} }}"
        ));
    }
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
         events {{ worker_connections 1024; }}
         http {{
             access_log off;
             client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
             uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
             {servers}
         }}"
    )
}

/// A running blackbox_exporter with the modules `http` and `https` (which does not check certificates).
pub struct Blackbox {
    /// The process.
    pub running: Running,
    /// Where it listens.
    pub port: u16,
}

impl Blackbox {
    /// Starts one; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        let program = program("prometheus-blackbox-exporter")?;
        for _ in 0..STARTS {
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("blackbox.yml");
            let http = "prober: http\n    timeout: 5s\n    http:\n      preferred_ip_protocol: ip4\n";
            let modules = format!(
                "modules:\n  http:\n    {http}  https:\n    {http}      tls_config:\n        insecure_skip_verify: true\n"
            );
            fs::write(&file, modules).expect("written");
            let port = free_port();
            let child = Command::new(&program)
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("blackbox_exporter starts");
            let running = Running { child, _directory: Some(directory) };
            if let Some(running) = running.listening(port) {
                return Some(Self { running, port });
            }
        }
        panic!("blackbox_exporter does not start");
    }

    /// Has a URL probed, and returns the metrics.
    pub fn probe(&self, module: &str, url: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a deadline");
        let request = format!("GET /probe?module={module}&target={url} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    }
}

/// The seconds of a phase in blackbox_exporter's metrics.
pub fn blackbox_phase(metrics: &str, phase: &str) -> f64 {
    let key = format!("probe_http_duration_seconds{{phase=\"{phase}\"}} ");
    let line = metrics.lines().find_map(|it| it.strip_prefix(&key));
    line.unwrap_or_else(|| panic!("no {phase}: {metrics}")).parse().expect("seconds")
}
