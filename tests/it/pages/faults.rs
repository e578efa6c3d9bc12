//! What goes wrong around us: a channel that hangs, no file descriptors, no name server, a suspended machine.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{Service, TOKEN, beside, field, queued, sms, texts, wait};
use crate::support::pty::Launch;
use crate::support::web::{Said, Web};

/// A probe of a service, looked at every second; one failure is enough.
fn probe(name: &str, url: &str) -> String {
    format!(
        "[[probe]]\nname = '{name}'\nhttp = '{url}'\nexpect = ['status == 200']\ninterval = '1s'\nretry = '1s'\n\
         fail = '1/1'\nrecover = '1/1'\nnotify = ['sms']\n"
    )
}

#[test]
fn a_channel_that_hangs_delays_no_probe_and_is_told_everything_in_order() {
    let (first, second) = (Service::start(), Service::start());
    let stalls = Arc::new(AtomicBool::new(true));
    let (its, count) = (Arc::clone(&stalls), AtomicU16::new(0));
    let phone =
        Web::start(
            move |_| {
                if its.load(Ordering::Relaxed) { Said { stalls: true, ..Said::default() } } else { queued(&count) }
            },
        );
    let config = format!(
        "{}{}{}wait = '0s'\ntimeout = '1s'\n[alerts]\ncommon = false\n",
        probe("first", &first.web.url()),
        probe("second", &second.web.url()),
        sms(&phone),
    );
    let pty = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN).config(&config).start();
    pty.wait_for("second");
    first.wait_runs(2);
    first.answer(500);
    wait("the first attempt", || !phone.asked().is_empty());
    // Every attempt hangs until its deadline, and no run is missed meanwhile: both go on at the same pace.
    let before = (first.runs(), second.runs());
    wait("three attempts", || phone.asked().len() >= 3);
    second.answer(500);
    let runs = (first.runs() - before.0, second.runs() - before.1);
    assert!(runs.0 >= 3 && runs.1 >= 3, "{runs:?}");
    wait("the second to wait", || beside(&pty, &["alerts"]).1.matches("sms  trigger since").count() == 2);
    let (_, alerts) = beside(&pty, &["alerts"]);
    assert!(alerts.contains("sending to sms") && !alerts.contains("told "), "nothing was taken yet: {alerts}");
    let hung = phone.asked().len();
    stalls.store(false, Ordering::Relaxed);
    let taken = || {
        let asked = phone.asked();
        let bodies: Vec<String> = asked.iter().skip(hung).map(|it| field(it, "Body")).collect();
        bodies
    };
    let told = |name: &str| taken().iter().filter(|it| it.starts_with(&format!("{name} DOWN"))).count();
    wait("both to be told", || told("first") > 0 && told("second") > 0);
    wait("both to be known as told", || {
        let (_, alerts) = beside(&pty, &["alerts"]);
        alerts.matches("told sms ").count() == 2 && !alerts.contains("sending to") && !alerts.contains("NOT SENT YET")
    });
    first.wait_runs(3);
    // Those that hung and were given up cannot be known here: what came after was taken once.
    assert!(told("first") <= 2 && told("second") <= 2, "{:?}", taken());
}

#[test]
fn without_file_descriptors_it_is_our_own_fault_and_nobody_is_paged() {
    let (service, phone) = (Service::start(), super::twilio());
    let many: String = (0..80).map(|it| probe(&format!("svc-{it}"), &format!("{}/{it}", service.web.url()))).collect();
    let config = format!("{many}{}wait = '0s'\n", sms(&phone));
    // Enough for the screen and the store, not for eighty connections.
    let script = "ulimit -n 64 && exec \"$HOTSEAT\"";
    let mut pty = Launch::shell(script).variable("TWILIO_TOKEN", TOKEN).config(&config).start();
    pty.wait_for("svc-0");
    service.wait_runs(400);
    let down: Vec<String> = texts(&phone).into_iter().filter(|it| it.contains("DOWN")).collect();
    assert_eq!(down, [""; 0], "nothing is down");
    pty.keys("q");
    assert_eq!(pty.exit_code(), 0);
}

#[test]
fn a_machine_that_slept_runs_each_probe_once_and_pages_nobody() {
    let (service, phone) = (Service::start(), super::twilio());
    let config = format!("{}{}wait = '0s'\n", probe("shop", &service.web.url()), sms(&phone));
    let pty = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN).config(&config).start();
    pty.wait_for("shop");
    service.wait_runs(2);
    // One that stays awake tells how long the other sleeps: six runs are due meanwhile.
    let watched = Service::start();
    let awake = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN);
    let awake = awake.config(&format!("{}{}", probe("watched", &watched.web.url()), sms(&phone))).start();
    watched.wait_runs(1);
    pty.signal(Signal::STOP);
    watched.wait_runs(6);
    drop(awake);
    let slept = service.runs();
    pty.signal(Signal::CONT);
    let woken = hotseat::clock::monotonic();
    service.wait_runs(3);
    let took = woken.elapsed();
    assert!(took >= std::time::Duration::from_secs(1), "{} runs at once", service.runs() - slept);
    assert_eq!(texts(&phone), [""; 0]);
}

#[test]
fn names_that_nobody_resolves_are_one_message_that_names_the_phase() {
    let phone = super::twilio();
    // `.invalid` is never resolved, with and without a name server.
    let many: String = (0..6).map(|it| probe(&format!("svc-{it}"), &format!("http://host-{it}.invalid/"))).collect();
    let config = format!("{many}{}wait = '3s'\n", sms(&phone));
    let pty = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN).config(&config).start();
    pty.wait_for("svc-0");
    wait("the SMS", || !texts(&phone).is_empty());
    let text = texts(&phone).remove(0);
    assert!(text.contains('6') && text.contains("dns"), "{text}");
    wait("all of them among the alerts", || {
        let (_, alerts) = beside(&pty, &["alerts"]);
        (0..6).all(|it| alerts.contains(&format!("svc-{it}")))
    });
}

#[test]
fn what_this_host_lacks_is_one_page_that_goes_out_while_it_lasts() {
    let (service, phone) = (Service::start(), super::twilio());
    let many: String = (0..40).map(|it| probe(&format!("svc-{it}"), &format!("{}/{it}", service.web.url()))).collect();
    let config = format!("{many}{}wait = '1s'\n", sms(&phone));
    let pty = Launch::new(&[]).variable("TWILIO_TOKEN", TOKEN).config(&config).start();
    pty.wait_for("svc-0");
    service.wait_runs(40);
    let pid = Pid::from_raw(pty.pid() as i32).expect("not 0");
    let before = getrlimit(Resource::Nofile);
    let set = |limit: u64| {
        let limit = Rlimit { current: Some(limit), maximum: before.maximum };
        prlimit(Some(pid), Resource::Nofile, limit).expect("a limit");
    };
    let squeeze = |room: usize| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", pty.pid())).expect("descriptors");
        let open: BTreeSet<u64> = open.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok()).collect();
        set((0..).filter(|it| !open.contains(it)).nth(room).expect("endless"));
    };
    let own = |text: &str| text.contains("cannot open more files");
    // As often as they look in more than a second.
    let (runs, looks) = (Cell::new(0), Cell::new(0));
    wait("no check to get through any more", || {
        squeeze(0);
        looks.set(if service.runs() == runs.get() { looks.get() + 1 } else { 0 });
        runs.set(service.runs());
        looks.get() > 120
    });
    // Room for five more: fewer than checks may take, and enough to be told.
    wait("the SMS while it lasts", || {
        squeeze(5);
        texts(&phone).iter().any(|it| own(it))
    });
    wait("all of them in one alert", || {
        squeeze(5);
        beside(&pty, &["alerts"]).1.contains("40 checks could not run")
    });
    set(1024);
    wait("the word that it is over", || texts(&phone).len() == 2);
    let texts = texts(&phone);
    assert!(texts.iter().all(|it| own(it)) && texts[1].contains("over after"), "{texts:?}");
}
