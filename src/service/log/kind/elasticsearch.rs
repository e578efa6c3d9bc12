//! `elasticsearch` in the config: records of Elasticsearch or OpenSearch.

use crate::registry::Kind;
use crate::registry::node::Node;
use crate::service::log::spec::{LogInput, LogInputs};
use crate::service::log::store::Remote;
use crate::service::log::store::elasticsearch::Settings;
use crate::service::log::store::settings::{read_common, read_word};

/// `elasticsearch` in the config.
pub const KIND: Kind<LogInputs> = Kind {
    name: "elasticsearch",
    summary: "records of Elasticsearch or OpenSearch; the query is pushed down, only the window comes back",
    example: "[[log]]\nname = \"shop\"\nelasticsearch = { url = \"https://es.example.com:9200\", index = \"logs-shop-*\" }\n",
    build,
};

fn build(value: &Node<'_>) -> Option<Box<LogInputs>> {
    if !value.expect_table() {
        return None;
    }
    let common = read_common(value, true);
    let index = value.require("index").and_then(|it| read_index(&it));
    let field = |key: &str, default: &str| match value.get(key) {
        Some(node) => read_word(&node, "field"),
        None => Some(default.to_string()),
    };
    let time_field = field("time_field", "@timestamp");
    let message_field = field("message_field", "message");
    let level_field = field("level_field", "log.level");
    let mut is_good = true;
    let mut filter = None;
    if let Some(node) = value.get("filter") {
        filter = node.string().filter(|it| !it.trim().is_empty());
        if filter.is_none() {
            node.error_with_hint("an empty filter", "write a query string, as in `service.name:shop`");
            is_good = false;
        }
    }
    let push_text = match value.get("push_text") {
        Some(node) => node.boolean(),
        None => Some(true),
    };
    value.finish(&[]);
    let settings = Settings {
        common: common?,
        index: index?,
        time_field: time_field?,
        message_field: message_field?,
        level_field: level_field?,
        filter,
        push_text: push_text?,
    };
    is_good.then(|| Box::new(LogInputs(vec![LogInput::Store(Box::new(Remote::Elasticsearch(settings)))])))
}

fn read_index(node: &Node<'_>) -> Option<String> {
    let index = read_word(node, "index")?;
    // What begins so is an API, or takes away from a list that is not there.
    if index.starts_with(['_', '-', '.']) && !index.starts_with(".ds-") {
        node.error_with_hint(
            format!("`{index}` is no index for logs"),
            "name an index, a data stream or a pattern, as in `logs-*`",
        );
        return None;
    }
    Some(index)
}
