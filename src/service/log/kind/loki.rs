//! `loki` in the config: lines of Grafana Loki.

use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::spec::{LogInput, LogInputs};
use crate::service::log::store::Remote;
use crate::service::log::store::loki::Settings;
use crate::service::log::store::settings::read_common;

/// `loki` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "loki",
    summary: "lines of Grafana Loki; chips are pushed down, only the window comes back",
    example: "[[log]]\nname = \"api\"\nloki = { url = \"http://loki.example.com:3100\", query = '{app=\"api\"}', tenant = \"team\" }\n",
    build,
};

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    if !value.expect_table() {
        return None;
    }
    let common = read_common(value, false);
    let query = value.require("query").and_then(|it| read_query(&it));
    let mut is_good = true;
    let mut tenant = None;
    if let Some(node) = value.get("tenant") {
        tenant = node.string().filter(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_graphic()));
        if tenant.is_none() {
            node.error_with_hint("this cannot be a tenant", "write the value of `X-Scope-OrgID`, without blanks");
            is_good = false;
        }
    }
    value.finish(&[]);
    let settings = Settings { common: common?, query: query?, tenant };
    is_good.then(|| Box::new(LogInputs(vec![LogInput::Store(Box::new(Remote::Loki(settings)))])))
}

fn read_query(node: &Node<'_>) -> Option<String> {
    let text = node.string()?.trim().to_string();
    let is_selector = text.strip_prefix('{').and_then(|it| it.split_once('}')).is_some_and(|it| it.0.contains('='));
    if !is_selector {
        node.error_with_hint(
            "this does not begin with a stream selector",
            "write labels in braces, as in `{app=\"api\"}`; stages such as `|= \"x\"` may follow",
        );
        return None;
    }
    Some(text)
}
