//! `terminal = "bell"`: open screens ring or show a notification of their terminal (OSC 9).
//!
//! Nothing is written here: the notifier tells a fact, and each screen writes through its own outlet.

use std::hash::{Hash, Hasher};

use crate::domain::alert::{AlertFact, Ring};
use crate::domain::fact::Fact;
use crate::domain::sanitise;
use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::notify::{Attempt, Notifier, Receipt, SendError, Sending, text};

/// Characters of a notification: desktops show two lines.
const TEXT_MAX: usize = 200;

/// `terminal` in the config.
pub const KIND: Kind<dyn Notifier> = Kind {
    name: "terminal",
    summary: "open screens sound the bell or show a desktop notification (OSC 9)",
    example: "[[notifier]]\nname = \"bell\"\nterminal = \"bell\"\nleast = \"error\"\n",
    build,
};

/// Rings open screens.
#[derive(Debug, Clone, Copy, Hash)]
struct Terminal {
    bell: bool,
    notification: bool,
}

fn build(node: &Node<'_>) -> Option<Box<dyn Notifier>> {
    let words = [
        ("bell", Terminal { bell: true, notification: false }),
        ("notification", Terminal { bell: false, notification: true }),
        ("both", Terminal { bell: true, notification: true }),
    ];
    node.one_of(&words).map(|it| Box::new(it) as Box<dyn Notifier>)
}

impl Notifier for Terminal {
    fn send<'a>(&'a self, attempt: Attempt<'a>) -> Sending<'a> {
        Box::pin(async move {
            let Some(facts) = attempt.facts else {
                return Err(SendError::permanent("no screen can be reached from here: it rings where one is open"));
            };
            let text = text::cut_chars(&sanitise::text(&attempt.delivery.message.title), TEXT_MAX);
            let ring = Ring { text, bell: self.bell, notification: self.notification };
            let told = facts.send(Fact::Alert(AlertFact::Rang(ring)));
            if tokio::time::timeout_at(attempt.deadline, told).await.is_err() {
                return Err(SendError::transient("the screen is too busy to ring"));
            }
            Ok(Receipt { id: None, text: "open screens ring".into() })
        })
    }

    fn describe(&self) -> String {
        match (self.bell, self.notification) {
            (true, true) => "bell and notification of open screens",
            (true, false) => "bell of open screens",
            _ => "notification of open screens",
        }
        .into()
    }

    fn fingerprint(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }
}
