//! What alerts have in common: many probes that fail in the same phase on one address, network or issuer are
//! one trouble, and people are told of that one.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::format;
use crate::domain::probe::outcome::{Cause, Lack, Outcome, Phase};

/// Alerts that make a common cause: two can be chance.
pub const COMMON_LEAST: usize = 3;

/// Alerts that begin within this time of each other may have one cause: probes at a pace of 30 s see it one by one.
pub const COMMON_WITHIN: SignedDuration = SignedDuration::from_secs(45);

/// What alerts can have in common; the order is from the narrow to the wide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Print {
    /// What kind of thing it is.
    pub what: Kind,
    /// Which: an address, a network, a name.
    pub which: String,
    /// The phase in which it fails.
    pub phase: String,
}

/// What kind of thing is common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Names are not resolved.
    Resolver,
    /// Who issued the certificates.
    Issuer,
    /// One address.
    Address,
    /// A network of addresses.
    Network,
    /// This host itself, which lacks what checks need: nothing is the matter with what they look at.
    Host,
}

impl Print {
    /// What it is, as a message names it: `resolver 10.0.0.2`, `10.0.0.0/24`.
    pub fn what(&self) -> String {
        match self.what {
            Kind::Resolver if self.which.is_empty() => "resolver".to_string(),
            Kind::Resolver => format!("resolver {}", self.which),
            Kind::Issuer => format!("issuer {}", self.which),
            Kind::Address | Kind::Network => self.which.clone(),
            Kind::Host => format!("this host {}", self.lacking()),
        }
    }

    /// What the host of that name lacks, or `what` it is: for whoever hears of several hosts.
    pub fn what_at(&self, host: &str) -> String {
        match self.what {
            Kind::Host => format!("host {host} {}", self.lacking()),
            _ => self.what(),
        }
    }

    fn lacking(&self) -> &str {
        Lack::of(&self.which).map_or(self.which.as_str(), |it| it.text())
    }

    /// What so many alerts say of it.
    pub fn why(&self, count: usize) -> String {
        match self.what {
            Kind::Host => format!("{} could not run", format::plural(count as u64, "check")),
            _ => format!("{} in {}", fail(count), self.phase),
        }
    }

    /// The same, where what they have in common was said before.
    pub fn how_many(&self, count: usize) -> String {
        if self.is_own() { self.why(count) } else { format!("{} in the same way", fail(count)) }
    }

    /// How many alerts with it make a common cause. What a host says of itself is no chance.
    pub fn least(&self) -> usize {
        if self.is_own() { 1 } else { COMMON_LEAST }
    }

    /// True when it is our own trouble, and not one of what is looked at.
    pub fn is_own(&self) -> bool {
        self.what == Kind::Host
    }

    /// For a key: without what a key must not hold.
    pub fn slug(&self) -> String {
        let slug = |it: char| if it.is_ascii_alphanumeric() || matches!(it, '.' | ':') { it } else { '-' };
        let what = if self.is_own() { self.which.clone() } else { self.what() };
        let text: String = what.chars().map(slug).take(80).collect();
        let place = if self.is_own() { "host" } else { &self.phase };
        format!("common-{place}-{text}")
    }
}

fn fail(count: usize) -> String {
    format!("{} {}", format::plural(count as u64, "probe"), if count == 1 { "fails" } else { "fail" })
}

/// The phase in which a run failed; `None` when the failure has no place on the way.
pub fn phase(outcome: &Outcome) -> Option<Phase> {
    let last = || outcome.phases.happened().last().map(|(phase, _)| phase);
    match outcome.trouble.as_ref()?.cause {
        Cause::Dns => Some(Phase::Dns),
        Cause::Refused | Cause::Unreachable => Some(Phase::Connect),
        Cause::Reset | Cause::Protocol => last(),
        Cause::Timeout(phase) => Some(phase),
        Cause::Tls | Cause::Certificate => Some(Phase::Tls),
        Cause::Status | Cause::Header => Some(Phase::Wait),
        Cause::Body => Some(Phase::Body),
        Cause::Exit | Cause::Perf => Some(Phase::Run),
        Cause::Slow | Cause::Value | Cause::Part | Cause::Silent | Cause::Own => None,
    }
}

/// What a run could have in common with others that failed, the narrow first; or with others that could not be made.
pub fn prints(outcome: &Outcome) -> Vec<Print> {
    if let Some(lack) = outcome.lack() {
        return vec![Print { what: Kind::Host, which: lack.word().to_string(), phase: String::new() }];
    }
    let (Some(phase), Some(trouble)) = (phase(outcome), outcome.trouble.as_ref()) else { return Vec::new() };
    let print = |what, which: String| Print { what, which, phase: phase.word().to_string() };
    let address = outcome.evidence.address.as_deref().and_then(ip);
    if phase == Phase::Dns {
        // The words of a resolver's failure name it; what was found before it failed is no address of ours.
        let resolver = trouble.text.split([' ', ',', ';', '(', ')', '`']).find_map(ip).or(address);
        return vec![print(Kind::Resolver, resolver.map(|it| it.to_string()).unwrap_or_default())];
    }
    let mut prints = Vec::new();
    if matches!(trouble.cause, Cause::Tls | Cause::Certificate)
        && let Some(certificate) = &outcome.evidence.certificate
        && !certificate.issuer.is_empty()
    {
        prints.push(print(Kind::Issuer, certificate.issuer.clone()));
    }
    // An answer that is wrong comes from one service; that the next one on its host is wrong as well says little.
    let is_way =
        matches!(phase, Phase::Connect | Phase::Tls) || matches!(trouble.cause, Cause::Timeout(_) | Cause::Reset);
    let Some(address) = address.filter(|_| is_way) else { return prints };
    prints.push(print(Kind::Address, address.to_string()));
    prints.push(print(Kind::Network, network(address)));
    prints
}

fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim_end_matches([':', '.']);
    let socket = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(socket)
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(it) => {
            let [a, b, c, _] = it.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(it) => {
            let [a, b, c, d, ..] = it.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
