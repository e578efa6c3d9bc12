//! The kinds that speak over a connection against servers of this test: dialogues, TLS, websockets, gRPC, journeys.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hotseat::domain::probe::outcome::{Cause, Outcome, Phase, ProbeResult};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::probes::{Answer, converse, http, look, serve, spec, words};
use crate::support::tls::{Authority, accept};

/// Starts a server that plays its part once for each connection; returns `127.0.0.1:port`.
async fn play<F, W>(part: F) -> String
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(part(stream));
        }
    });
    address
}

/// Says a greeting, then answers each line by its first word.
async fn answer_lines(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, greeting: &str, answers: &[(&str, &str)]) {
    let _ = stream.write_all(greeting.as_bytes()).await;
    let mut heard = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte).await {
        heard.push(byte[0]);
        if byte[0] != b'\n' {
            continue;
        }
        let line = String::from_utf8_lossy(&heard).into_owned();
        heard.clear();
        let answer = answers.iter().find(|(word, _)| line.starts_with(word)).map_or("500 what\r\n", |(_, it)| it);
        if stream.write_all(answer.replace("LINE", line.trim_end()).as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_dialogue_waits_for_lines_and_carries_what_it_captured() {
    let address = play(|stream| async {
        answer_lines(stream, "220-welcome\r\n220 id=77 ready\r\n", &[("HELLO", "250 you said LINE\r\n")]).await;
    })
    .await;
    let script =
        "[{ expect = '^220 id=(\\d+)' }, { send = \"HELLO {1}\\r\\n\" }, { expect = '^250 you said HELLO 77$' }]";
    let entry = format!("tcp = {{ address = '{address}', script = {script} }}\nexpect = \"answer contains '250 you'\"");
    let outcome = look(&entry).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert!(outcome.phases.wait.is_some());
}

#[tokio::test]
async fn a_dialogue_that_stalls_says_where_and_keeps_the_transcript_without_secrets() {
    let address = play(|stream| async {
        let answers = [("PASS", "535 no, LINE \u{1b}[31mis wrong\r\n")];
        answer_lines(stream, "220 ready\r\n", &answers).await;
    })
    .await;
    let script = "[{ expect = '^220' }, { send = \"PASS hunter2hunter2\\r\\n\" }, { expect = '^230' }]";
    let outcome = look(&format!("tcp = {{ address = '{address}', script = {script} }}\ntimeout = '1s'")).await;
    assert_eq!(outcome.trouble.as_ref().map(|it| it.cause), Some(Cause::Timeout(Phase::Wait)));
    let text = "timeout in wait: step 3 expected `^230`, the last that came was `535 no, PASS *** is wrong`";
    assert_eq!(outcome.trouble.as_ref().map(|it| it.text.as_str()), Some(text));
    assert_eq!(outcome.evidence.body, "< 220 ready\n> PASS ***\n< 535 no, PASS *** is wrong\n");
    assert!(!format!("{outcome:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_hangs_up_in_a_dialogue_is_told_with_its_last_words() {
    let address = serve_bytes(b"421 too busy\r\n").await;
    let outcome = look(&format!("tcp = {{ address = '{address}', script = [{{ expect = '^220' }}] }}")).await;
    let text = "step 1 expected `^220`, the last that came was `421 too busy`; then the server hung up";
    assert_eq!(words(&outcome), (ProbeResult::Fail, "hung up", text));
}

async fn serve_bytes(bytes: &'static [u8]) -> String {
    play(move |mut stream| async move {
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    })
    .await
}

#[tokio::test]
async fn a_prompt_without_a_line_end_is_heard() {
    let address = play(|mut stream| async move {
        let _ = stream.write_all(b"login: ").await;
        let mut sink = [0; 64];
        let _ = stream.read(&mut sink).await;
    })
    .await;
    let outcome = look(&format!("tcp = {{ address = '{address}', script = [{{ expect = '^login: $' }}] }}")).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
}

#[tokio::test]
async fn starttls_goes_on_in_tls_and_the_dialogue_with_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path());
    let acceptor = authority.acceptor(&["127.0.0.1"], 2099);
    let address = play(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut byte = [0];
            let mut lines = 0;
            let _ = stream.write_all(b"220 mail\r\n").await;
            while lines < 2 && stream.read_exact(&mut byte).await.is_ok() {
                if byte[0] == b'\n' {
                    lines += 1;
                    let answer: &[u8] = if lines == 1 { b"250-mail\r\n250 STARTTLS\r\n" } else { b"220 go\r\n" };
                    let _ = stream.write_all(answer).await;
                }
            }
            if let Some(stream) = accept(&acceptor, stream).await {
                answer_lines(stream, "", &[("NOOP", "250 fine\r\n")]).await;
            }
        }
    })
    .await;
    let trust = format!("ca = '{}'", authority.file().display());
    let script = "[{ send = \"NOOP\\r\\n\" }, { expect = '^250 fine' }]";
    let outcome = look(&format!(
        "tcp = {{ address = '{address}', starttls = 'smtp', script = {script}, {trust} }}\nexpect = 'cert.days > 7'"
    ))
    .await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert!(outcome.phases.tls.is_some() && outcome.phases.wait.is_some());

    let outcome = look(&format!(
        "tls = {{ address = '{address}', starttls = 'smtp', {trust} }}\nexpect = \"protocol == 'TLSv1.3'\""
    ))
    .await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
}

#[tokio::test]
async fn a_root_that_is_sent_counts_as_every_other_certificate_of_the_chain() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::with_root_sent(dir.path(), 2030).with_intermediate(2060);
    let acceptor = authority.acceptor(&["127.0.0.1"], 2050);
    let address = play(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = accept(&acceptor, stream).await;
        }
    })
    .await;
    for trust in [format!("ca = '{}'", authority.file().display()), "verify = false".to_string()] {
        let entry = format!("tls = {{ address = '{address}', {trust} }}\nexpect = 'cert.days > 20000'");
        let outcome = look(&entry).await;
        let text = outcome.trouble.as_ref().expect("trouble").text.clone();
        assert!(text.contains("(that of `hotseat root` in the chain)"), "{text}");
        assert_eq!(outcome.evidence.chain.len(), 3);
    }
}

#[tokio::test]
async fn a_chain_is_kept_and_the_certificate_that_ends_first_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path()).with_intermediate(2030);
    let acceptor = authority.acceptor(&["127.0.0.1"], 2099);
    let address = play(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = accept(&acceptor, stream).await;
        }
    })
    .await;
    let entry = |more: &str| format!("tls = {{ address = '{address}'{more} }}\nexpect = 'cert.days > 20000'");
    let outcome = look(&entry(&format!(", ca = '{}'", authority.file().display()))).await;
    let text = outcome.trouble.as_ref().expect("trouble").text.clone();
    assert!(text.contains("(that of `hotseat intermediate` in the chain), expected cert.days > 20000"), "{text}");
    assert_eq!(outcome.trouble.as_ref().map(|it| it.cause), Some(Cause::Certificate));
    let subjects: Vec<&str> = outcome.evidence.chain.iter().map(|it| it.issuer.as_str()).collect();
    assert_eq!(subjects, ["hotseat intermediate", "hotseat root"]);

    let outcome = look(&entry("")).await;
    assert_eq!((outcome.brief(), outcome.evidence.chain.len()), ("tls", 2), "known also when it is not trusted");
    let outcome = look(&format!(
        "tls = {{ address = '{address}', ca = '{}' }}\nexpect = \"cert.issuer == 'other'\"",
        authority.file().display()
    ))
    .await;
    assert_eq!(words(&outcome).2, "cert.issuer is 'hotseat intermediate', expected cert.issuer == 'other'");
}

/// Answers an upgrade, then says these bytes, then whatever comes after that.
async fn websocket(mut stream: TcpStream, accept: Option<&str>, bytes: &[u8]) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    let original = String::from_utf8_lossy(&request).into_owned();
    let at = original.to_lowercase().find("sec-websocket-key: ").expect("a key") + 19;
    let key = original[at..].split('\r').next().expect("a line").to_string();
    let right =
        STANDARD.encode(Sha1::new().chain_update(&key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept.unwrap_or(&right)
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(bytes).await;
    while stream.read(&mut buffer).await.is_ok_and(|it| it > 0) {}
}

#[tokio::test]
async fn a_websocket_is_opened_asked_and_answered() {
    let address = play(|stream| websocket(stream, None, b"\x81\x05hello\x81\x04pong")).await;
    let outcome = look(&format!("websocket = 'ws://{address}/feed'")).await;
    assert_eq!((words(&outcome), outcome.evidence.status), ((ProbeResult::Ok, "ok", ""), Some(101)));
    let entry = format!(
        "websocket = {{ url = 'ws://{address}/feed', send = 'ping', answer = '^pong$' }}\nexpect = \"answer == 'hello'\""
    );
    let outcome = look(&entry).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""), "other messages are passed over and can be asked for");
    assert_eq!(spec(&entry).probe.target(), format!("ws://{address}/feed"));
}

#[tokio::test]
async fn what_is_no_websocket_is_told_apart() {
    let address = play(|stream| websocket(stream, Some("AAAA"), b"")).await;
    assert_eq!(look(&format!("websocket = 'ws://{address}/'")).await.brief(), "bad accept");
    let address = serve(Answer::Close(http("200 OK", "", "hello").into_bytes())).await;
    assert_eq!(
        words(&look(&format!("websocket = 'ws://{address}/'")).await).2,
        "status is 200, a websocket begins with 101"
    );
    let address = play(|stream| websocket(stream, None, b"\x88\x08\x03\xf3broken")).await;
    let outcome = look(&format!("websocket = {{ url = 'ws://{address}/', send = 'x' }}")).await;
    assert_eq!(words(&outcome), (ProbeResult::Fail, "closed 1011", "the server closed the websocket with 1011 broken"));
}

/// A gRPC server that answers every question so.
async fn grpc(stream: TcpStream, code: &'static str, message: &'static [u8]) {
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    let answer = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["x-key"], "sesame");
        let asked = request.into_body().collect().await.expect("a question").to_bytes();
        assert_eq!(&asked[..], b"\0\0\0\0\x0b\x0a\x09shop.Cart");
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("grpc-status", code.parse().expect("a value"));
        trailers.insert("grpc-message", "no".parse().expect("a value"));
        let body = Full::new(Bytes::from_static(message)).with_trailers(async move { Some(Ok(trailers)) });
        Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .serve_connection(io, answer)
        .await;
}

#[tokio::test]
async fn grpc_health_is_told_in_its_words() {
    for (code, message, wanted) in [
        ("0", &b"\0\0\0\0\x02\x08\x01"[..], (ProbeResult::Ok, "ok", "")),
        ("0", b"\0\0\0\0\x02\x08\x02", (ProbeResult::Fail, "not serving", "the service `shop.Cart` is NOT_SERVING")),
        ("5", b"", (ProbeResult::Fail, "not found", "the server does not know the service `shop.Cart`")),
        (
            "12",
            b"",
            (
                ProbeResult::Fail,
                "unimplemented",
                "the server does not offer `grpc.health.v1.Health`: connect to it with `tcp`, or register the service",
            ),
        ),
        ("16", b"", (ProbeResult::Fail, "unauthenticated", "the server answers UNAUTHENTICATED: no")),
    ] {
        let address = play(move |stream| grpc(stream, code, message)).await;
        let entry =
            format!("grpc = {{ address = '{address}', service = 'shop.Cart', metadata = {{ x-key = 'sesame' }} }}");
        let outcome = look(&entry).await;
        assert_eq!(words(&outcome), wanted);
        assert_eq!(outcome.evidence.protocol.as_deref(), Some("HTTP/2"));
    }
    let address = serve(Answer::Stall(http("200 OK", "", "hello").into_bytes())).await;
    let outcome = look(&format!("grpc = '{address}'")).await;
    let cause = outcome.trouble.as_ref().map(|it| it.cause);
    assert_eq!((outcome.result, cause), (ProbeResult::Fail, Some(Cause::Protocol)), "{:?}", outcome.trouble);
}

fn journey(address: &str, second: &str) -> String {
    format!(
        "[[probe.journey]]\nname = 'log in'\n\
         http = {{ url = 'http://{address}/login', method = 'post', json = {{ user = 'bob', password = 'hunter22' }} }}\n\
         take = {{ token = 'json.access.token', id = \"body =~ 'order-(\\\\d+)'\" }}\n\
         [[probe.journey]]\n{second}\n"
    )
}

async fn shop() -> String {
    let login = "{\"access\":{\"token\":\"to/ken-4711\"},\"last\":\"order-123456\"}";
    serve(Answer::Routes(vec![("/login", http("200 OK", "Set-Cookie: sid=cookie-0815; Path=/\r\n", login))])).await
}

#[tokio::test]
async fn a_journey_carries_values_and_cookies_from_step_to_step() {
    let address = shop().await;
    let second = format!(
        "http = {{ url = 'http://{address}/cart/{{id}}?t={{token}}', bearer = '{{token}}', json = {{ t = '{{token}}' }} }}\n\
         expect = [\"body contains 'GET /cart/123456?t=to%2Fken-4711 '\", \"body contains 'authorization: Bearer to/ken-4711'\", \
         \"body contains 'cookie: sid=cookie-0815'\"]"
    );
    let outcome = look(&journey(&address, &second)).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    let steps: Vec<_> =
        outcome.evidence.parts.iter().map(|it| (it.name.as_str(), it.result, it.took.is_some())).collect();
    assert_eq!(steps, [("log in", ProbeResult::Ok, true), ("step 2", ProbeResult::Ok, true)]);
    let sum: Duration = outcome.evidence.hops.iter().map(|it| it.phases.total()).sum();
    assert_eq!(sum, outcome.total(), "the steps are the whole");
}

#[tokio::test]
async fn a_journey_ends_at_the_first_step_that_fails_and_shows_no_secret() {
    let address = shop().await;
    let second = format!(
        "name = 'cart'\nhttp = {{ url = 'http://{address}/cart/{{token}}', bearer = '{{token}}' }}\nexpect = 'status == 204'\n\
         [[probe.journey]]\nhttp = 'http://{address}/never'"
    );
    let outcome = look(&journey(&address, &second)).await;
    let text = "step 2 of 3, `cart`: status is 200, expected status == 204";
    assert_eq!(words(&outcome), (ProbeResult::Fail, "cart: 200", text));
    let steps: Vec<_> = outcome.evidence.parts.iter().map(|it| (it.name.as_str(), it.text.as_str())).collect();
    assert_eq!(
        steps,
        [("log in", "200"), ("cart", "status is 200, expected status == 204"), ("step 3", "not reached")]
    );
    assert_eq!(outcome.evidence.hops.len(), 2);
    assert!(outcome.evidence.body.contains("GET /cart/***"), "{}", outcome.evidence.body);
    for secret in ["4711", "0815", "hunter22"] {
        assert!(!format!("{outcome:?}").contains(secret), "{secret}");
    }

    let gone = "name = 'cart'\nhttp = 'http://127.0.0.1:1/{token}'".to_string();
    let outcome = look(&journey(&address, &gone)).await;
    assert_eq!(
        outcome.trouble.as_ref().map(|it| (it.cause, it.brief.as_str())),
        Some((Cause::Refused, "cart: refused"))
    );
}

#[tokio::test]
async fn a_value_that_is_not_there_fails_its_step() {
    let address = serve(Answer::Close(http("200 OK", "", "{}").into_bytes())).await;
    let outcome = look(&journey(&address, "http = 'http://h/{token}'")).await;
    let text = "step 1 of 2, `log in`: no `token`: json.access.token is not in the answer";
    assert_eq!(words(&outcome), (ProbeResult::Fail, "log in: no token", text));
}

#[tokio::test]
async fn a_proxy_opens_the_way_in_a_phase_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path());
    let acceptor = authority.acceptor(&["127.0.0.1"], 2099);
    let server = play(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Some(stream) = accept(&acceptor, stream).await {
                converse(stream, Answer::Close(http("200 OK", "", "ok").into_bytes())).await;
            }
        }
    })
    .await;
    let proxy = play(|mut stream| async move {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        if !head.contains("Proxy-Authorization: Basic Ym9iOmh1bnRlcjIy\r\n") {
            let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
            return;
        }
        let place = head.split(' ').nth(1).expect("a place").to_string();
        let Ok(mut beyond) = TcpStream::connect(&place).await else { return };
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut beyond).await;
    })
    .await;
    let entry = |user: &str| {
        format!(
            "http = {{ url = 'https://{server}/', ca = '{}', proxy = 'http://{user}{proxy}' }}",
            authority.file().display()
        )
    };
    let outcome = look(&entry("bob:hunter22@")).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert!(outcome.phases.proxy.is_some() && outcome.phases.tls.is_some());
    assert_eq!(outcome.evidence.address.as_deref(), Some(proxy.as_str()));
    let outcome = look(&entry("")).await;
    let text = format!("the proxy {proxy} refused the way to {server}: HTTP/1.1 407 Proxy Authentication Required");
    assert_eq!(words(&outcome), (ProbeResult::Fail, "proxy 407", text.as_str()));
}

#[tokio::test]
async fn what_fails_on_the_way_to_a_proxy_is_said_to_be_the_proxy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let outcome = look(&format!("http = {{ url = 'https://far.example/', proxy = 'http://{free}' }}")).await;
    let text = format!("proxy: refused: nothing listens on {free}");
    assert_eq!(words(&outcome), (ProbeResult::Fail, "refused", text.as_str()));
}

#[tokio::test]
async fn grpc_asked_of_a_server_that_speaks_http_1_says_so() {
    let server = play(|mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        // A connection that is closed with something unread is reset, which hides the answer.
        while stream.read(&mut buffer).await.is_ok_and(|it| it > 0) {}
    })
    .await;
    let outcome = look(&format!("grpc = {{ address = '{server}' }}")).await;
    let text = "the answer is not HTTP/2: does this port speak HTTP/1 only?";
    assert_eq!(words(&outcome), (ProbeResult::Fail, "not http/2", text));
}

#[tokio::test]
async fn plain_http_through_a_proxy_names_the_whole_url() {
    let proxy = serve(Answer::Routes(Vec::new())).await;
    let entry = format!(
        "http = {{ url = 'http://far.example/x', proxy = 'http://bob:hunter22@{proxy}' }}\n\
         expect = [\"body contains 'GET http://far.example/x HTTP/1.1'\", \"body contains 'proxy-authorization: Basic Ym9iOmh1bnRlcjIy'\"]"
    );
    assert_eq!(words(&look(&entry).await), (ProbeResult::Ok, "ok", ""));
}

#[tokio::test]
async fn credentials_and_a_client_certificate_show_who_we_are() {
    let address = serve(Answer::Routes(Vec::new())).await;
    for (more, wanted) in [
        ("basic = { user = 'bob', password = 'hunter22' }", "authorization: Basic Ym9iOmh1bnRlcjIy"),
        ("bearer = 'sesame'", "authorization: Bearer sesame"),
    ] {
        let entry = format!("http = {{ url = 'http://{address}/', {more} }}\nexpect = \"body contains '{wanted}'\"");
        assert_eq!(words(&look(&entry).await), (ProbeResult::Ok, "ok", ""));
    }

    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(dir.path());
    let acceptor = authority.acceptor_that_asks(&["127.0.0.1"]);
    let address = play(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Some(stream) = accept(&acceptor, stream).await {
                converse(stream, Answer::Close(http("200 OK", "", "ok").into_bytes())).await;
            }
        }
    })
    .await;
    let (cert, key) = authority.client(dir.path());
    let entry =
        |more: &str| format!("http = {{ url = 'https://{address}/', ca = '{}'{more} }}", authority.file().display());
    let outcome =
        look(&entry(&format!(", client = {{ cert = '{}', key = '{}' }}", cert.display(), key.display()))).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    let outcome = look(&entry("")).await;
    assert_eq!((outcome.result, outcome.trouble.as_ref().map(|it| it.cause)), (ProbeResult::Fail, Some(Cause::Tls)));
    assert!(outcome.trouble.expect("trouble").text.contains("CertificateRequired"));
}

#[tokio::test]
async fn http2_without_tls_needs_to_be_said() {
    let address = play(|stream| async {
        let answer = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
            let said = format!("{:?} {}", request.version(), request.uri());
            Ok::<_, std::convert::Infallible>(hyper::Response::new(http_body_util::Full::new(
                hyper::body::Bytes::from(said),
            )))
        });
        let io = hyper_util::rt::TokioIo::new(stream);
        let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .serve_connection(io, answer)
            .await;
    })
    .await;
    let entry = format!(
        "http = {{ url = 'http://{address}/x', http2 = true }}\nexpect = \"body == 'HTTP/2.0 http://{address}/x'\""
    );
    let outcome = look(&entry).await;
    assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    assert_eq!(outcome.evidence.protocol.as_deref(), Some("HTTP/2"));
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_says_so() {
    let address = play(|stream| async {
        let answer = hyper::service::service_fn(|_: hyper::Request<hyper::body::Incoming>| async move {
            Ok::<_, std::convert::Infallible>(hyper::Response::new(http_body_util::Full::new(
                hyper::body::Bytes::from("ok"),
            )))
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), answer)
            .await;
    })
    .await;
    let spec = spec(&format!("http = {{ url = 'http://{address}/', reuse = true }}"));
    let place =
        hotseat::service::probe::Place::alone(hotseat::domain::ids::HostId::new("h"), Path::new("/nonexistent"));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for _ in 0..3 {
        outcomes.push(hotseat::service::probe::run::run_once(&spec, &place, Duration::ZERO).await);
    }
    let seen: Vec<_> = outcomes.iter().map(|it| (it.result, it.evidence.reused, it.phases.connect.is_some())).collect();
    let again = (ProbeResult::Ok, true, false);
    assert_eq!(seen, [(ProbeResult::Ok, false, true), again, again]);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_made_anew() {
    let address = serve(Answer::Close(http("200 OK", "", "ok").into_bytes())).await;
    let spec = spec(&format!("http = {{ url = 'http://{address}/', reuse = true }}"));
    let place =
        hotseat::service::probe::Place::alone(hotseat::domain::ids::HostId::new("h"), Path::new("/nonexistent"));
    for _ in 0..3 {
        let outcome = hotseat::service::probe::run::run_once(&spec, &place, Duration::ZERO).await;
        assert_eq!(words(&outcome), (ProbeResult::Ok, "ok", ""));
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_looked_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Answer::Close(http("200 OK", "", "ok").into_bytes())));
        }
    });
    let outcome = look(&format!("http = {{ url = 'http://127.0.0.1:{port}/', addresses = 'all' }}")).await;
    assert_eq!((outcome.result, outcome.evidence.parts.len()), (ProbeResult::Ok, 1));
    assert_eq!(outcome.evidence.parts[0].name, format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn a_private_address_is_refused_before_anything_is_sent() {
    let address = serve(Answer::Routes(Vec::new())).await;
    let outcome = look(&format!("http = {{ url = 'http://{address}/', deny_private = true }}")).await;
    let text = "`127.0.0.1` leads to 127.0.0.1, which `deny_private` rules out";
    assert_eq!(words(&outcome), (ProbeResult::Fail, "private", text));
    assert!(outcome.phases.connect.is_none());
}

#[tokio::test]
async fn every_hop_of_a_redirect_has_its_phases() {
    let other = serve(Answer::Routes(Vec::new())).await;
    let address =
        serve(Answer::Routes(vec![("/a", http("301 Moved", &format!("Location: http://{other}/b?t=1\r\n"), ""))]))
            .await;
    let outcome = look(&format!("http = 'http://{address}/a'")).await;
    let hops: Vec<_> = outcome.evidence.hops.iter().map(|it| (it.place.clone(), it.status)).collect();
    assert_eq!(hops, [(format!("http://{address}/a"), Some(301)), (format!("http://{other}/b?…"), Some(200))]);
    let sum: Duration = outcome.evidence.hops.iter().map(|it| it.phases.total()).sum();
    assert_eq!(sum, outcome.total());
    assert!(outcome.evidence.hops.iter().all(|it| it.phases.connect.is_some()));
}

#[tokio::test]
async fn a_failing_answer_keeps_its_headers_and_body() {
    let headers = "Set-Cookie: sid=1\r\nX-Request-Id: 7\r\nX-Echo: sesame-4711\r\n";
    let body = "first line\nsesame-4711 second\n".to_string() + &"z".repeat(20 << 10);
    let address = serve(Answer::Close(http("503 Busy", headers, &body).into_bytes())).await;
    let entry = |expect: &str| {
        format!("http = {{ url = 'http://{address}/', bearer = 'sesame-4711' }}\nexpect = 'status == {expect}'")
    };
    let outcome = look(&entry("200")).await;
    let header =
        |name: &str| outcome.evidence.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    assert_eq!((header("set-cookie"), header("x-request-id"), header("x-echo")), (Some("***"), Some("7"), Some("***")));
    assert!(outcome.evidence.body.starts_with("first line\n*** second\nzzz"));
    assert_eq!(outcome.evidence.body.len(), 10 << 10);
    let outcome = look(&entry("503")).await;
    assert!(outcome.evidence.headers.is_empty() && outcome.evidence.body.is_empty(), "not of a run that was well");
}
