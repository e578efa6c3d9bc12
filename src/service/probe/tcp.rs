//! `tcp = "host:port"`: does something accept a connection there.

use std::hash::{Hash, Hasher};

use tokio::time::Instant;

use crate::domain::probe::expect::Subjects;
use crate::domain::probe::judge::Observation;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::probe::net::{self, Verdict};
use crate::service::probe::{Observing, Probe, Run};

/// `tcp` in the config.
pub const KIND: Kind<dyn Probe> = Kind {
    name: "tcp",
    summary: "connect to a host and port",
    example: "[[probe]]\nname = \"db\"\ntcp = \"10.0.0.5:5432\"\n",
    build,
};

/// Connects and hangs up.
#[derive(Debug, Clone, Hash)]
struct TcpProbe {
    host: String,
    port: u16,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    if !node.is_table() {
        return parse(node);
    }
    let address = node.require("address").and_then(|it| parse(&it));
    node.finish(&[]);
    address
}

fn parse(node: &Node<'_>) -> Option<Box<dyn Probe>> {
    let (host, port) = net::host_and_port(node)?;
    Some(Box::new(TcpProbe { host, port }))
}

impl TcpProbe {
    async fn look(&self, deadline: Instant, seen: &mut Observation) -> Result<(), Verdict> {
        let phases = &mut seen.values.phases;
        let address = net::resolve(phases, deadline, &self.host, self.port).await?;
        seen.evidence.address = Some(address.to_string());
        net::connect(phases, deadline, address).await?;
        Ok(())
    }
}

impl Probe for TcpProbe {
    fn observe<'a>(&'a self, run: &'a Run) -> Observing<'a> {
        let deadline = run.deadline;
        Box::pin(async move {
            let mut seen = Observation::default();
            seen.verdict = self.look(deadline, &mut seen).await.err();
            seen
        })
    }

    fn target(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn subjects(&self) -> Subjects {
        Subjects::Tcp
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}
