//! Reads the steps of a journey from the config.

use std::hash::{Hash, Hasher};

use crate::domain::probe::expect::{Expression, Subjects};
use crate::registry::node::Node;
use crate::service::probe::http::location::Target;
use crate::service::probe::http::settings::{Scope, Settings};
use crate::service::probe::http::wire::Wire;
use crate::service::probe::journey::carry::{self, Source};
use crate::service::probe::read;

/// Steps of one journey: a way through a shop has five.
const STEPS_MAX: usize = 32;

/// One request of a journey.
pub struct Step {
    /// For the screen.
    pub name: String,
    /// What is asked.
    pub settings: Settings,
    /// How it travels.
    pub wire: Wire,
    /// What must hold before the next step.
    pub expect: Vec<Expression>,
    /// What is handed on: its name, and where it comes from.
    pub take: Vec<(String, Source)>,
}

impl Hash for Step {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.settings).hash(state);
        for line in &self.expect {
            line.to_string().hash(state);
        }
        for (name, source) in &self.take {
            (name, source.shown()).hash(state);
        }
    }
}

/// Reads the array of steps; mistakes are reported at their places.
pub fn steps(node: &Node<'_>) -> Option<Vec<Step>> {
    if !node.is_array() {
        node.error_with_hint(
            "`journey` is a list of steps",
            "write `[[probe.journey]]` and the keys of the step below it, once for each step",
        );
        return None;
    }
    let items = node.items();
    if items.is_empty() || items.len() > STEPS_MAX {
        let hint = "each step is a table with `http`, and if wanted `name`, `expect` and `take`";
        node.error_with_hint(format!("a journey has from 1 to {STEPS_MAX} steps"), hint);
        return None;
    }
    let count = items.len();
    let mut known: Vec<String> = Vec::new();
    let mut steps = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        steps.extend(step(&item, index, &mut known));
    }
    (steps.len() == count).then_some(steps)
}

fn step(item: &Node<'_>, index: usize, known: &mut Vec<String>) -> Option<Step> {
    if !item.expect_table() {
        return None;
    }
    let name = item.get("name").map(|it| it.string());
    let http = item.require("http");
    let settings = http.as_ref().and_then(|it| Settings::read(it, Scope::Step));
    let expect = read::expectations(item.get("expect").as_ref(), Subjects::Http);
    let take = item.get("take").map(|it| taken(&it));
    item.finish(&[]);
    let (http, settings) = (http?, settings?);
    if !url_is_known(&http, &settings.url, known) {
        return None;
    }
    let take = match take {
        Some(found) => found?,
        None => Vec::new(),
    };
    known.extend(take.iter().map(|(name, _)| name.clone()));
    let name = match name {
        Some(found) => found?,
        None => format!("step {}", index + 1),
    };
    let wire = Wire::new(settings.tls.clone(), settings.proxy.clone(), settings.http2, settings.deny_private);
    Some(Step { name, settings, wire, expect: expect?, take })
}

/// Checks a URL with `{name}` in it as far as it can be before the values are there.
fn url_is_known(http: &Node<'_>, url: &str, known: &[String]) -> bool {
    let place = http.peek("url").filter(|_| http.is_table()).unwrap_or_else(|| http.clone());
    if let Some(unknown) = carry::names(url).find(|it| !known.iter().any(|name| name == it)) {
        let hint = format!("let an earlier step have `take = {{ {unknown} = \"json.…\" }}`");
        place.error_with_hint(format!("no step before this one takes `{unknown}`"), hint);
        return false;
    }
    let sample: Vec<(String, String)> = known.iter().map(|it| (it.clone(), "x".to_string())).collect();
    // A URL that a server names as a whole is known when it has named it.
    let is_whole = url.starts_with('{');
    match Target::parse(&carry::put(url, &sample, carry::Place::Url)) {
        Err(message) if !is_whole => {
            place.error_with_hint(message, "write the whole URL, as in `https://api.example.com/orders/{id}`");
            false
        }
        _ => true,
    }
}

fn taken(table: &Node<'_>) -> Option<Vec<(String, Source)>> {
    if !table.expect_table() {
        return None;
    }
    let mut good = true;
    let mut found = Vec::new();
    for (name, _) in table.keys() {
        let source = table.get(&name).and_then(|it| Source::read(&it));
        good &= source.is_some();
        if !carry::is_name(&name) {
            let hint = "letters, digits, `_` and `-` can stand between the braces of `{name}`";
            table.error_at_key(&name, format!("`{name}` is not a name for a value"), Some(hint.into()));
            good = false;
        }
        found.extend(source.map(|it| (name, it)));
    }
    good.then_some(found)
}
