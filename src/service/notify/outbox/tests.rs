//! The outbox on a clock that stands still until everybody waits: order, pauses, expiry, bounds.

use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::attempt::backoff;
use super::queue::OPEN_MAX;
use super::*;
use crate::domain::alert::rules::NotifierRule;
use crate::domain::fact::Actor;
use crate::domain::ids::HostId;
use crate::service::FactSender;
use crate::service::notify::{Attempt, Notifier, Receipt, RetryAfter, SendError, Sending};

/// Deadline of an attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No test takes this long on its clock.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

/// What a channel answers.
enum Answer {
    Sent,
    Refused(SendError),
    Hangs,
    Panics,
}

/// How a channel decides what it answers.
type Answers = Box<dyn Fn(&Delivery, u32) -> Answer + Send + Sync>;

/// What channels were asked: whose delivery, which attempt, when after the start.
type Calls = Arc<Mutex<Vec<(String, u32, Duration)>>>;

/// A channel that answers as a test tells it to.
struct Channel {
    answer: Answers,
    calls: Calls,
    began: Instant,
    settings: u64,
    resumed: Arc<AtomicUsize>,
}

impl Notifier for Channel {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let call = (attempt.delivery.id.clone(), attempt.number, self.began.elapsed());
            self.calls.lock().expect("no panic").push(call);
            match (self.answer)(attempt.delivery, attempt.number) {
                Answer::Sent => Ok(Receipt::default()),
                Answer::Refused(error) => Err(error),
                Answer::Hangs => std::future::pending().await,
                Answer::Panics => panic!("of a test"),
            }
        })
    }

    fn describe(&self) -> String {
        "a test".into()
    }

    fn fingerprint(&self, hasher: &mut dyn Hasher) {
        hasher.write_u64(self.settings);
    }

    fn resume(&self, _delivery: &Delivery) {
        self.resumed.fetch_add(1, Ordering::SeqCst);
    }
}

/// An outbox that keeps nothing, and what comes of it.
struct Bench {
    outbox: Option<Outbox>,
    setup: ServiceSetup,
    facts_rx: mpsc::Receiver<(Actor, Fact)>,
    calls: Calls,
    began: Instant,
    resumed: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Self {
        let (facts, facts_rx) = FactSender::channel();
        let setup = ServiceSetup {
            host: HostId::new("h"),
            user: "alice".into(),
            state_dir: PathBuf::from("/nonexistent"),
            facts,
            cancel: CancellationToken::new(),
        };
        let (calls, resumed) = (Calls::default(), Arc::default());
        Self { outbox: None, setup, facts_rx, calls, began: clock::timer(), resumed }
    }

    fn spec(
        &self,
        name: &str,
        settings: u64,
        answer: impl Fn(&Delivery, u32) -> Answer + Send + Sync + 'static,
    ) -> NotifierSpec {
        let (calls, resumed) = (Arc::clone(&self.calls), Arc::clone(&self.resumed));
        let channel = Channel { answer: Box::new(answer), calls, began: self.began, settings, resumed };
        let rule = NotifierRule::new(name, "webhook");
        NotifierSpec { name: name.into(), kind: "webhook", notifier: Arc::new(channel), rule, timeout: TIMEOUT }
    }

    fn start(&mut self, specs: Vec<NotifierSpec>) {
        self.outbox = Some(Outbox::start(&self.setup, None, specs));
    }

    fn outbox(&self) -> &Outbox {
        self.outbox.as_ref().expect("started")
    }

    fn submit(&self, deliveries: Vec<Delivery>) {
        self.outbox().submit(Change { deliveries, ..Change::default() });
    }

    fn supersede(&self, id: &str) {
        self.outbox().submit(Change { superseded: vec![id.into()], ..Change::default() });
    }

    /// The next thing that became of a delivery, other than that it is in the outbox or on its way.
    async fn news(&mut self) -> (String, DeliveryState) {
        loop {
            let received = tokio::time::timeout(PATIENCE, self.facts_rx.recv()).await;
            let Fact::Alert(AlertFact::Delivery(news)) = received.expect("news").expect("the outbox runs").1 else {
                panic!("no news of a delivery");
            };
            if !matches!(news.state, DeliveryState::Queued | DeliveryState::Sending { .. }) {
                return (news.id, news.state);
            }
        }
    }

    /// Waits until so many deliveries are done with.
    async fn ended(&mut self, count: usize) -> Vec<(String, DeliveryState)> {
        let mut ended = Vec::new();
        while ended.len() < count {
            let news = self.news().await;
            if !matches!(news.1, DeliveryState::Retrying { .. }) {
                ended.push(news);
            }
        }
        ended
    }

    /// When a delivery was tried.
    fn tried(&self, id: &str) -> Vec<Duration> {
        let calls = self.calls.lock().expect("no panic");
        calls.iter().filter(|it| it.0 == id).map(|it| it.2).collect()
    }
}

fn delivery(id: &str, key: &str, notifier: &str) -> Delivery {
    let title = format!("{key} DOWN");
    let message = Message {
        text: title.clone(),
        title,
        severity: Severity::Critical,
        host: "h".into(),
        alerts: Vec::new(),
        brief: None,
    };
    Delivery {
        id: id.into(),
        key: key.into(),
        notifier: notifier.into(),
        action: Action::Trigger,
        at: clock::now(),
        expires: None,
        message,
        follows: None,
        silence: None,
        because: "a test".into(),
    }
}

fn sent(attempts: u32) -> DeliveryState {
    DeliveryState::Sent { receipt: None, attempts }
}

fn fails_until(attempt: u32) -> impl Fn(&Delivery, u32) -> Answer {
    move |_, number| if number < attempt { Answer::Refused(SendError::transient("500")) } else { Answer::Sent }
}

/// Whether a time is this long, give or take what the clock on the wall and the timer wheel add.
fn is_about(found: Duration, seconds: u64) -> bool {
    let expected = Duration::from_secs(seconds);
    found + Duration::from_secs(2) > expected && found < expected + Duration::from_secs(2)
}

#[tokio::test(start_paused = true)]
async fn news_of_one_alert_go_in_their_order_and_those_of_others_pass_them() {
    let mut bench = Bench::new();
    let fails_first = |it: &Delivery, number| match (it.id.as_str(), number) {
        ("a1", 1 | 2) => Answer::Refused(SendError::transient("500")),
        _ => Answer::Sent,
    };
    bench.start(vec![bench.spec("hook", 0, fails_first)]);
    bench.submit(vec![delivery("a1", "a", "hook"), delivery("a2", "a", "hook"), delivery("b1", "b", "hook")]);
    let ended = bench.ended(3).await;
    assert_eq!(ended, [("b1".into(), sent(1)), ("a1".into(), sent(3)), ("a2".into(), sent(1))]);
    assert_eq!(bench.tried("b1"), [Duration::ZERO], "it waits for nobody");
    assert!(bench.tried("a2")[0] >= bench.tried("a1")[2]);
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_double_up_to_five_minutes() {
    let mut bench = Bench::new();
    bench.start(vec![bench.spec("hook", 0, fails_until(13))]);
    bench.submit(vec![delivery("a1", "a", "hook")]);
    assert_eq!(bench.ended(1).await, [("a1".into(), sent(13))]);
    let tried = bench.tried("a1");
    for (at, pair) in tried.windows(2).enumerate() {
        let whole = Duration::from_secs(1 << at).min(Duration::from_secs(300));
        let pause = pair[1] - pair[0];
        assert!(pause + Duration::from_millis(2) >= whole / 2, "{at}: {pause:?}");
        assert!(pause <= whole + Duration::from_millis(2), "{at}: {pause:?}");
    }
    assert_eq!((backoff(1, 0.0), backoff(1, 1.0)), (Duration::from_millis(500), Duration::from_secs(1)));
    assert_eq!(backoff(u32::MAX, 1.0), Duration::from_secs(300), "whatever the number");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_asks_for_a_pause_gets_it_for_all_and_others_go_on() {
    for asked in [RetryAfter::In(Duration::from_secs(90)), RetryAfter::At(clock::now() + SignedDuration::from_secs(90))]
    {
        let mut bench = Bench::new();
        let busy = move |it: &Delivery, number| match (it.id.as_str(), number) {
            ("a1", 1) => Answer::Refused(SendError { retry_after: Some(asked), ..SendError::transient("429") }),
            _ => Answer::Sent,
        };
        bench.start(vec![bench.spec("hook", 0, busy), bench.spec("other", 0, |_, _| Answer::Sent)]);
        bench.submit(vec![delivery("a1", "a", "hook")]);
        assert!(matches!(bench.news().await.1, DeliveryState::Retrying { .. }));
        bench.submit(vec![delivery("b1", "b", "hook"), delivery("c1", "c", "other")]);
        bench.ended(3).await;
        assert_eq!(bench.tried("c1"), [Duration::ZERO], "another channel");
        assert!(is_about(bench.tried("a1")[1], 90), "{:?}", bench.tried("a1"));
        assert!(is_about(bench.tried("b1")[0], 90), "another alert, the same channel: {:?}", bench.tried("b1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_asks_for_no_pause_is_not_asked_as_fast_as_it_answers() {
    let past = clock::now() - SignedDuration::from_hours(1);
    for asked in [RetryAfter::In(Duration::ZERO), RetryAfter::At(past)] {
        let mut bench = Bench::new();
        let spec = bench.spec("chat", 1, move |_, number| match number {
            1..=6 => Answer::Refused(SendError { retry_after: Some(asked), ..SendError::transient("429") }),
            _ => Answer::Sent,
        });
        bench.start(vec![spec]);
        bench.submit(vec![delivery("a1", "a", "chat")]);
        bench.ended(1).await;
        let tried = bench.tried("a1");
        assert!(tried.windows(2).all(|it| it[1] - it[0] >= Duration::from_millis(500)), "{tried:?}");
        assert!(tried[6] - tried[5] >= Duration::from_secs(16), "the pauses grow: {tried:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_asks_for_a_year_is_asked_again_in_an_hour() {
    let year = SignedDuration::from_hours(366 * 24);
    for asked in [RetryAfter::In(year.unsigned_abs()), RetryAfter::At(clock::now() + year)] {
        let mut bench = Bench::new();
        let ill = move |_: &Delivery, number| match number {
            1 => Answer::Refused(SendError { retry_after: Some(asked), ..SendError::transient("503") }),
            _ => Answer::Sent,
        };
        bench.start(vec![bench.spec("hook", 0, ill)]);
        bench.submit(vec![delivery("a1", "a", "hook")]);
        bench.ended(1).await;
        assert!(is_about(bench.tried("a1")[1], 3600), "{:?}", bench.tried("a1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_or_recovery_that_is_refused_is_tried_seldom_and_sent_when_the_channel_is_mended() {
    let mut bench = Bench::new();
    let refuses = |it: &Delivery, number| match (it.id.as_str(), number) {
        ("a1", 1..=7) => Answer::Refused(SendError::permanent("307: redirects")),
        _ => Answer::Sent,
    };
    bench.start(vec![bench.spec("hook", 0, refuses)]);
    let recovery = Delivery { action: Action::Resolve, ..delivery("a1", "a", "hook") };
    bench.submit(vec![recovery]);
    let (_, state) = bench.news().await;
    let DeliveryState::Retrying { attempt: 1, error, refused: true, .. } = state else { panic!("{state:?}") };
    assert_eq!(error, "307: redirects");
    assert_eq!(bench.ended(1).await, [("a1".into(), sent(8))]);
    let tried = bench.tried("a1");
    let pauses: Vec<u64> = tried.windows(2).map(|it| (it[1] - it[0]).as_secs_f64().round() as u64).collect();
    assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_tried_at_once_when_the_config_is_read_again() {
    let mut bench = Bench::new();
    let refuses = |_: &Delivery, number| match number {
        1..=3 => Answer::Refused(SendError::permanent("400: no such service")),
        _ => Answer::Sent,
    };
    bench.start(vec![bench.spec("hook", 0, refuses)]);
    bench.submit(vec![delivery("a1", "a", "hook")]);
    for _ in 0..3 {
        assert!(matches!(bench.news().await.1, DeliveryState::Retrying { refused: true, .. }));
        bench.outbox().reload(vec![bench.spec("hook", 0, refuses)]);
    }
    assert_eq!(bench.ended(1).await, [("a1".into(), sent(4))]);
    assert!(bench.began.elapsed() < Duration::from_secs(10), "{:?}", bench.began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_given_up_when_it_is_old_or_not_worth_sending_any_more() {
    let mut bench = Bench::new();
    bench.start(vec![bench.spec("hook", 0, |_, _| Answer::Refused(SendError::permanent("400: no such service")))]);
    let old = Delivery { at: clock::now() - SignedDuration::from_hours(97), ..delivery("a1", "a", "hook") };
    bench.submit(vec![old]);
    let failed = DeliveryState::Failed { attempts: 1, error: "400: no such service".into() };
    assert_eq!(bench.ended(1).await, [("a1".into(), failed)]);
    // The next reminder says it all again.
    let expires = Some(clock::now() + SignedDuration::from_secs(600));
    bench.submit(vec![Delivery { action: Action::Remind, expires, ..delivery("b1", "b", "hook") }]);
    assert_eq!(bench.ended(1).await, [("b1".into(), DeliveryState::Expired)]);
    assert_eq!(bench.tried("b1").len(), 4, "{:?}", bench.tried("b1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_page_is_tried_as_long_when_it_is_refused() {
    for action in [Action::Acknowledge, Action::Remind, Action::Silence, Action::Unsilence] {
        let mut bench = Bench::new();
        let refuses = |_: &Delivery, number| match number {
            1..=3 => Answer::Refused(SendError::permanent("400: no such service")),
            _ => Answer::Sent,
        };
        bench.start(vec![bench.spec("hook", 0, refuses)]);
        bench.submit(vec![Delivery { action, ..delivery("a1", "a", "hook") }]);
        assert!(matches!(bench.news().await.1, DeliveryState::Retrying { refused: true, .. }), "{action:?}");
        assert_eq!(bench.ended(1).await, [("a1".into(), sent(4))], "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_worth_sending_any_more_expires_also_while_it_waits_for_an_older_one() {
    let mut bench = Bench::new();
    bench.start(vec![bench.spec("hook", 0, |_, _| Answer::Refused(SendError::transient("500")))]);
    let within = |seconds| Some(clock::now() + SignedDuration::from_secs(seconds));
    let first = Delivery { expires: within(60), ..delivery("a1", "a", "hook") };
    let second = Delivery { expires: within(5), ..delivery("a2", "a", "hook") };
    bench.submit(vec![first, second]);
    assert_eq!(bench.ended(1).await, [("a2".into(), DeliveryState::Expired)]);
    assert!(is_about(bench.began.elapsed(), 5), "{:?}", bench.began.elapsed());
    assert_eq!(bench.ended(1).await, [("a1".into(), DeliveryState::Expired)]);
    assert!(bench.began.elapsed() < Duration::from_secs(62), "{:?}", bench.began.elapsed());
    assert!(bench.tried("a1").len() > 3 && bench.tried("a2").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_not_sent_and_not_tried_again() {
    let mut bench = Bench::new();
    let hangs = |it: &Delivery, _| if it.id == "a1" { Answer::Hangs } else { Answer::Sent };
    bench.start(vec![bench.spec("hook", 0, hangs)]);
    bench.submit(vec![delivery("a1", "a", "hook"), delivery("a2", "a", "hook")]);
    while bench.tried("a1").is_empty() {
        tokio::task::yield_now().await;
    }
    bench.supersede("a1");
    bench.supersede("a2");
    bench.submit(vec![delivery("a3", "a", "hook")]);
    assert_eq!(bench.news().await, ("a2".into(), DeliveryState::Merged), "it had not begun");
    assert_eq!(bench.news().await, ("a1".into(), DeliveryState::Merged), "it is not tried again");
    assert_eq!(bench.news().await, ("a3".into(), sent(1)));
    assert_eq!((bench.tried("a1").len(), bench.tried("a2").len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_or_panics_stalls_nobody_else() {
    let mut bench = Bench::new();
    let hangs = |_: &Delivery, number| if number == 1 { Answer::Hangs } else { Answer::Sent };
    let panics = |_: &Delivery, number| if number == 1 { Answer::Panics } else { Answer::Sent };
    let specs = vec![
        bench.spec("hung", 0, hangs),
        bench.spec("ill", 0, panics),
        bench.spec("well", 0, |_: &Delivery, _| Answer::Sent),
    ];
    bench.start(specs);
    let to_all =
        |it: usize| ["hung", "ill", "well"].map(|name| delivery(&format!("{name}{it}"), &format!("k{it}"), name));
    bench.submit((0..8).flat_map(to_all).collect());
    let ended = bench.ended(24).await;
    let well = (0..8).map(|it| bench.tried(&format!("well{it}"))).collect::<Vec<_>>();
    assert!(well.iter().all(|it| *it == [Duration::ZERO]), "{well:?}");
    assert!(ended.iter().all(|(id, state)| *state == sent(if id.starts_with("well") { 1 } else { 2 })), "{ended:?}");
    // Four at a time, each until its deadline.
    let last = (0..8).map(|it| bench.tried(&format!("hung{it}"))[0]).max().expect("some");
    assert!(is_about(last, 11), "{last:?}");
    assert!(is_about(bench.tried("ill0")[1], 1), "{:?}", bench.tried("ill0"));
}

#[tokio::test(start_paused = true)]
async fn a_notifier_that_is_named_again_gets_what_waited_for_it() {
    let mut bench = Bench::new();
    bench.start(Vec::new());
    bench.submit(vec![delivery("a1", "a", "hook")]);
    let (_, state) = bench.news().await;
    let DeliveryState::Retrying { error, .. } = state else { panic!("{state:?}") };
    assert!(error.contains("no notifier `hook` in the config"), "{error}");
    bench.outbox().reload(vec![bench.spec("hook", 0, |_, _| Answer::Sent)]);
    assert_eq!(bench.ended(1).await, [("a1".into(), sent(2))]);
    assert!(bench.tried("a1")[0] < Duration::from_millis(10), "at once: {:?}", bench.tried("a1"));
}

#[tokio::test(start_paused = true)]
async fn what_lasts_is_taken_up_once_by_a_notifier_that_is_new() {
    let mut bench = Bench::new();
    bench.start(vec![bench.spec("hook", 0, |_, _| Answer::Sent)]);
    bench.outbox().restore(Vec::new(), vec![delivery("a1", "a", "hook"), delivery("b1", "b", "gone")], Vec::new());
    let resumed = Arc::clone(&bench.resumed);
    let resumed = move || resumed.load(Ordering::SeqCst);
    assert_eq!(resumed(), 1, "of an earlier run");
    bench.outbox().reload(vec![bench.spec("hook", 0, |_, _| Answer::Sent)]);
    assert_eq!(resumed(), 1, "the same settings: it remembers");
    bench.outbox().reload(vec![bench.spec("hook", 1, |_, _| Answer::Sent)]);
    assert_eq!(resumed(), 2, "other settings");
    let over = Delivery { action: Action::Resolve, ..delivery("a2", "a", "hook") };
    bench.submit(vec![over]);
    bench.ended(1).await;
    bench.outbox().reload(vec![bench.spec("hook", 2, |_, _| Answer::Sent)]);
    assert_eq!(resumed(), 2, "it is over");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_left_goes_on_where_it_was() {
    let mut bench = Bench::new();
    bench.start(vec![bench.spec("hook", 0, |_, _| Answer::Sent)]);
    let now = clock::now();
    let kept = |id: &str, state| Kept { delivery: delivery(id, id, "hook"), state, changed: now, reached: Vec::new() };
    // The clock was a year ahead when this was written.
    let next = now + SignedDuration::from_hours(366 * 24);
    let retrying = DeliveryState::Retrying { attempt: 4, next, error: "500".into(), refused: false };
    let left = vec![
        kept("queued", DeliveryState::Queued),
        kept("sending", DeliveryState::Sending { attempt: 2 }),
        kept("retrying", retrying),
    ];
    bench.outbox().restore(left.clone(), Vec::new(), vec![kept("done", sent(1))]);
    // A second time, as after a disk that came late: nothing is doubled.
    bench.outbox().restore(left, Vec::new(), Vec::new());
    assert_eq!(bench.news().await, ("done".into(), sent(1)), "nobody has heard of it");
    let ended = bench.ended(3).await;
    assert_eq!(ended, [("queued".into(), sent(1)), ("sending".into(), sent(3)), ("retrying".into(), sent(5))]);
    assert!(is_about(bench.tried("retrying")[0], 300), "{:?}", bench.tried("retrying"));
    assert_eq!((bench.tried("queued").len(), bench.tried("sending").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn after_the_end_no_attempt_begins_and_one_under_way_is_waited_for() {
    let mut bench = Bench::new();
    bench.start(vec![bench.spec("hook", 0, |_, _| Answer::Hangs)]);
    bench.submit(vec![delivery("a1", "a", "hook")]);
    while bench.tried("a1").is_empty() {
        tokio::task::yield_now().await;
    }
    bench.setup.cancel.cancel();
    tokio::task::yield_now().await;
    bench.submit(vec![delivery("b1", "b", "hook")]);
    bench.outbox().stopped().await;
    assert!(bench.began.elapsed() >= TIMEOUT);
    assert!(bench.tried("b1").is_empty());
}

/// A queue and its clocks.
fn queue() -> (Queue, Timestamp, Instant) {
    (Queue::default(), clock::now(), clock::timer())
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_a_page_up_for_seconds_only() {
    let (mut queue, now, timer) = queue();
    queue.push(delivery("a1", "a", "hook"), now, timer + COMMIT_DEADLINE, timer);
    let (started, _, next) = queue.start(now, timer);
    assert!(started.is_empty());
    assert_eq!(next, Some(timer + COMMIT_DEADLINE));
    let (started, ..) = queue.start(now, timer + COMMIT_DEADLINE);
    assert_eq!(started.len(), 1);
    let news = queue.next_news().expect("it is told");
    assert_eq!((news.state, news.durable), (DeliveryState::Queued, false));
    queue.committed(&["a1".into()], true, now, timer);
    assert!(queue.next_news().is_none(), "that comes too late to be of use");
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_the_oldest_that_is_no_trigger_goes_and_none_that_is_under_way() {
    let (mut queue, now, timer) = queue();
    for at in 0..OPEN_MAX {
        let action = if at == 5 { Action::Remind } else { Action::Trigger };
        let delivery = Delivery { action, ..delivery(&format!("d{at}"), &format!("k{at}"), "hook") };
        queue.push(delivery, now, timer, timer);
    }
    let (started, ..) = queue.start(now, timer);
    let ids: Vec<&str> = started.iter().map(|it| it.delivery.id.as_str()).collect();
    assert_eq!(ids, ["d0", "d1", "d2", "d3"]);
    assert!(queue.make_room(now).is_empty(), "so many fit");
    let mut gone = Vec::new();
    for at in 0..3 {
        queue.push(delivery(&format!("new{at}"), "new", "hook"), now, timer, timer);
        gone.extend(queue.make_room(now).into_iter().map(|it| (it.id, it.state)));
    }
    let gone: Vec<&str> = gone
        .iter()
        .map(|(id, state)| {
            assert_eq!(*state, DeliveryState::Merged);
            id.as_str()
        })
        .collect();
    assert_eq!(gone, ["d5", "d4", "d6"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_neither_expires_nor_delays() {
    let (mut queue, now, timer) = queue();
    let year = SignedDuration::from_hours(366 * 24);
    let expires = Some(now + SignedDuration::from_secs(60));
    let first = Delivery { expires, ..delivery("a1", "a", "hook") };
    queue.push(first.clone(), now, timer, timer);
    let (started, marks, _) = queue.start(now + year, timer);
    assert_eq!((started.len(), marks.len()), (1, 0), "a year ahead: it is not late");
    // An attempt failed; the clock is set back before the next.
    let state = DeliveryState::Retrying {
        attempt: 1,
        next: now + SignedDuration::from_secs(2),
        error: "500".into(),
        refused: false,
    };
    queue.ended(&first, state, Vec::new(), None, (now, timer), true);
    let (started, _, next) = queue.start(now - year, timer + Duration::from_secs(1));
    assert!(started.is_empty());
    assert_eq!(next, Some(timer + Duration::from_secs(2)));
    assert_eq!(queue.start(now - year, timer + Duration::from_secs(2)).0.len(), 1);
}
