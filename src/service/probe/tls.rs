//! `tls = "host:port"`: the handshake and the certificates, and nothing behind them.

use std::hash::{Hash, Hasher};

use crate::domain::probe::expect::{
    CERT_DAYS, CERT_ISSUER, CERT_SUBJECT, Field, FieldKind, FieldValue, Subjects, phase_field,
};
use crate::domain::probe::judge::Observation;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::net;
use crate::service::probe::secure::{Tls, TlsSettings};
use crate::service::probe::starttls::{self, StartTls};
use crate::service::probe::tcp;
use crate::service::probe::{Observing, Probe, Run};

/// `tls` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "tls",
    summary: "shake hands in TLS: the chain, its days, its issuer, the name",
    example: "[[probe]]\nname = \"cert\"\ntls = \"api.example.com:443\"\nexpect = [\"cert.days > 7\"]\nprefer = [\"cert.days > 21\", \"protocol == 'TLSv1.3'\"]\n",
    build,
};

const PROTOCOL: Field = Field { name: "protocol", kind: FieldKind::Text };
const FIELDS: &[Field] =
    &[phase_field("dns"), phase_field("connect"), phase_field("tls"), CERT_DAYS, CERT_ISSUER, CERT_SUBJECT, PROTOCOL];

struct TlsProbe {
    host: String,
    port: u16,
    starttls: Option<StartTls>,
    settings: TlsSettings,
    tls: Tls,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let (address, starttls, settings) = if node.is_table() {
        let address = node.require("address").and_then(|it| net::host_and_port(&it));
        let starttls = node.get("starttls").map(|it| it.one_of(starttls::WORDS));
        let settings = TlsSettings::read(node);
        node.finish(&[]);
        if starttls == Some(None) {
            return None;
        }
        (address?, starttls.flatten(), settings?)
    } else {
        (net::host_and_port(node)?, None, TlsSettings::default())
    };
    let (host, port) = address;
    // Without ALPN a server answers in what it prefers, and the handshake is all that is wanted.
    let tls = Tls::new(settings.clone(), &[]);
    Some(Box::new(TlsProbe { host, port, starttls, settings, tls }))
}

impl Probe for TlsProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        Box::pin(async move {
            let mut seen = Observation::default();
            let tls = Some(&self.tls);
            let reached = tcp::reach(&self.host, self.port, self.starttls, tls, run.deadline, &mut seen).await;
            seen.verdict = reached.err();
            if let Some(protocol) = &seen.evidence.protocol {
                seen.values.fields.push((PROTOCOL.name, FieldValue::Texts(vec![protocol.clone()])));
            }
            seen
        })
    }

    fn target(&self) -> String {
        net::shown(&self.host, self.port)
    }

    fn subjects(&self) -> Subjects {
        Subjects::Fields(FIELDS)
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        (&self.host, self.port, self.starttls, &self.settings).hash(&mut hasher);
    }
}
