//! A day of forty probes in a second: the clock on the wall is set forward and back, the machine sleeps, and probes
//! neither stop nor pile up, and every outage is told once.

use std::time::Duration;

use hotseat::clock;
use hotseat::config;
use hotseat::domain::alert::AlertFact;
use hotseat::domain::alert::delivery::{Action, Delivery, DeliveryNews, DeliveryState};
use hotseat::domain::board::Board;
use hotseat::domain::effect::Effect;
use hotseat::domain::fact::{Actor, Envelope, Fact};
use hotseat::domain::ids::{HostId, ProbeId};
use hotseat::domain::probe::ProbeFact;
use hotseat::domain::probe::outcome::{Cause, Evidence, Outcome, Phases, ProbeResult, Trouble};
use hotseat::service::probe::ProbeSpec;
use hotseat::service::probe::schedule::Schedule;
use jiff::{SignedDuration, Timestamp};

const PROBES: usize = 40;
const INTERVAL: Duration = Duration::from_secs(15);
const HOUR: u64 = 3600;
/// What a run takes.
const RUN: Duration = Duration::from_millis(20);

/// What happens to the clocks, at a second of the machine's own time.
enum Event {
    /// Somebody sets the clock on the wall, by so many seconds.
    Set(i64),
    /// The machine sleeps so many seconds: the wall goes on, its own time does not.
    Sleep(u64),
}

/// When `sick` fails, in seconds of the machine's own time. Three of them have a clock change in their middle.
const OUTAGES: [(u64, u64); 5] = [
    (2 * HOUR, 2 * HOUR + 900),
    (4 * HOUR - 600, 4 * HOUR + 600),
    (8 * HOUR - 600, 8 * HOUR + 600),
    (12 * HOUR - 600, 12 * HOUR + 600),
    (20 * HOUR, 20 * HOUR + 900),
];

struct Day {
    board: Board,
    host: HostId,
    start: tokio::time::Instant,
    /// The machine's own time.
    now: tokio::time::Instant,
    wall_offset: SignedDuration,
    deliveries: Vec<Delivery>,
}

impl Day {
    fn wall(&self) -> Timestamp {
        // A Sunday on which clocks in Europe go back; what decides counts in instants and does not notice.
        let midnight: Timestamp = "2026-10-24T22:00:00Z".parse().expect("a time");
        let gone = SignedDuration::try_from(self.now.duration_since(self.start)).expect("a day");
        midnight + gone + self.wall_offset
    }

    fn fact(&mut self, fact: Fact) {
        let at = self.wall();
        let envelope = Envelope { host: self.host.clone(), seq: self.board.seq + 1, at, actor: Actor::Runtime, fact };
        for effect in self.board.apply(at, &envelope) {
            let Effect::Commit(change) = effect else { continue };
            for delivery in change.deliveries {
                let Delivery { id, key, notifier, action, .. } = delivery.clone();
                self.deliveries.push(delivery);
                let state = DeliveryState::Sent { receipt: None, attempts: 1 };
                let news = DeliveryNews { id, key, notifier, action, at, state, durable: true };
                self.fact(Fact::Alert(AlertFact::Delivery(Box::new(news))));
            }
        }
    }

    /// How long until the policy wants to be told the time; the runtime looks at the wall at least this often.
    fn tick_in(&self) -> Option<Duration> {
        let wait = self.board.alerts.next_wake()?.duration_since(self.wall());
        Some(Duration::try_from(wait).unwrap_or_default().min(Duration::from_secs(15)))
    }

    fn is_out(&self) -> bool {
        let second = self.now.duration_since(self.start).as_secs();
        OUTAGES.iter().any(|(from, until)| (*from..*until).contains(&second))
    }

    fn outcome(&self, name: &str, next: Duration) -> Fact {
        let fails = name == "sick" && self.is_out();
        let outcome = Outcome {
            at: self.wall(),
            result: if fails { ProbeResult::Fail } else { ProbeResult::Ok },
            phases: Phases::default(),
            trouble: fails.then(|| Trouble::new(Cause::Refused, "refused", "refused")),
            evidence: Evidence::default(),
            lag: Duration::ZERO,
            latency_suspect: false,
        };
        let (probe, next) = (ProbeId::new(&self.host, name), Some(self.wall() + next));
        Fact::Probe(ProbeFact::Outcome { probe, outcome: Box::new(outcome), next })
    }
}

/// One probe and when it ran, in the machine's own time.
struct Runner {
    spec: ProbeSpec,
    schedule: Schedule,
    ran: Vec<tokio::time::Instant>,
}

#[test]
fn a_day_with_clock_jumps_and_sleep_is_probed_on_time_and_told_once() {
    let mut text = String::from("[[notifier]]\nname = \"hook\"\nwait = \"0s\"\nwebhook = \"http://127.0.0.1:1/\"\n");
    for number in 0..PROBES {
        let name = if number == 0 { "sick".to_string() } else { format!("probe-{number}") };
        text +=
            &format!("[[probe]]\nname = \"{name}\"\ntcp = \"127.0.0.1:1\"\ninterval = \"15s\"\nnotify = [\"hook\"]\n");
    }
    let (config, errors) = config::parse("c.toml", &text);
    assert!(errors.is_empty(), "{errors:?}");
    let start = clock::timer();
    let host = HostId::new("h");
    let offset = SignedDuration::ZERO;
    let mut day = Day { board: Board::default(), host, start, now: start, wall_offset: offset, deliveries: Vec::new() };
    day.fact(Fact::Alert(AlertFact::Configured { rules: Box::new(config.alerts.clone()) }));
    let unix = Duration::try_from(day.wall().as_duration()).expect("after 1970");
    let mut runners: Vec<Runner> = config
        .probes
        .into_iter()
        .map(|spec| {
            let schedule = Schedule::start(&spec.name, spec.interval, spec.retry, unix, start);
            Runner { spec, schedule, ran: Vec::new() }
        })
        .collect();
    for runner in &runners {
        let probe = ProbeId::new(&day.host, &runner.spec.name);
        day.fact(Fact::Probe(ProbeFact::Configured { probe, setup: runner.spec.setup() }));
    }
    let mut events = vec![
        (4 * HOUR, Event::Set(3600)),
        (8 * HOUR, Event::Set(-3600)),
        (12 * HOUR, Event::Sleep(2 * HOUR)),
        (16 * HOUR, Event::Set(-7200)),
        (18 * HOUR, Event::Set(7200)),
    ];
    let end = start + Duration::from_secs(24 * HOUR);
    let mut turns = 0_u32;
    while day.now < end {
        turns += 1;
        assert!(turns < 2_000_000, "something turns without end");
        let due = runners.iter().map(|it| it.schedule.wake_at()).min().expect("probes");
        let tick = day.tick_in().map(|it| day.now + it.max(Duration::from_millis(100)));
        let event = events.first().map(|(at, _)| start + Duration::from_secs(*at));
        let next = [Some(due), tick, event].into_iter().flatten().min().expect("one");
        day.now = day.now.max(next);
        if event.is_some_and(|it| it <= day.now) {
            match events.remove(0).1 {
                Event::Set(by) => day.wall_offset += SignedDuration::from_secs(by),
                Event::Sleep(slept) => {
                    day.wall_offset += SignedDuration::from_secs(slept as i64);
                    for runner in &mut runners {
                        let passed = runner.schedule.slept(day.now, Duration::from_secs(slept));
                        assert_eq!(u64::from(passed), slept / INTERVAL.as_secs());
                    }
                }
            }
        }
        if day.tick_in().is_some_and(|it| it.is_zero()) {
            let at = day.wall();
            day.fact(Fact::Alert(AlertFact::Tick { at }));
        }
        for runner in &mut runners {
            if !runner.schedule.is_due(day.now) {
                continue;
            }
            let begun = runner.schedule.begin(day.now);
            assert_eq!(begun.missed, 0, "{} missed runs", runner.spec.name);
            runner.ran.push(day.now);
            let hurries = {
                let probe = ProbeId::new(&day.host, &runner.spec.name);
                let fact = day.outcome(&runner.spec.name, runner.spec.interval);
                day.fact(fact);
                let state = day.board.probes.get(&probe).expect("known");
                state.health() != hotseat::domain::probe::health::Health::Up
            };
            runner.schedule.end(day.now, day.now + RUN, !hurries);
        }
    }

    for Runner { spec, ran, .. } in &runners {
        let gaps = ran.windows(2).map(|it| it[1].duration_since(it[0]));
        let (least, most) =
            gaps.fold((Duration::MAX, Duration::ZERO), |(least, most), it| (least.min(it), most.max(it)));
        assert!(most <= INTERVAL * 3 / 2, "{} stood still for {most:?}", spec.name);
        assert!(least >= Duration::from_millis(500) || ran.len() < 10, "{} ran twice within {least:?}", spec.name);
        let usual = 24 * HOUR as usize / INTERVAL.as_secs() as usize;
        let extra = if spec.name == "sick" { usual } else { 20 };
        assert!((usual - 5..usual + extra).contains(&ran.len()), "{} ran {} times", spec.name, ran.len());
    }
    let about = |action: Action| {
        let those = day.deliveries.iter().filter(|it| it.action == action);
        those.filter(|it| it.message.alerts.iter().any(|it| it.subject.ends_with("sick"))).count()
    };
    let told: Vec<String> = day.deliveries.iter().map(|it| format!("{} {}", it.at, it.message.title)).collect();
    assert_eq!((about(Action::Trigger), about(Action::Resolve)), (OUTAGES.len(), OUTAGES.len()), "{told:#?}");
    assert!(
        day.deliveries.iter().all(|it| it.message.alerts.iter().all(|it| it.subject.ends_with("sick"))),
        "{told:#?}"
    );
}
