//! IncrementalAlterConfigs: options of a topic that are set or taken back; all others stay.

use std::collections::HashSet;

use headwater::engine::topics::Topic;
use kafka_protocol::messages::IncrementalAlterConfigsResponse;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;

use super::alter_configs::{Resource, each, no_value, outcome, twice};
use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{Failure, code};
use super::topic_options::{self, Pair, Policies, TopicOption};
use super::wire::Malformed;

/// What is done with an option, in Kafka's numbers.
mod operation {
    pub(super) const SET: i8 = 0;
    pub(super) const DELETE: i8 = 1;
    pub(super) const APPEND: i8 = 2;
    pub(super) const SUBTRACT: i8 = 3;
}

/// One change.
#[derive(Debug)]
struct Change {
    name: String,
    operation: i8,
    value: Option<String>,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = fields.array("resources", |fields| {
        let kind = fields.i8("resource_type")?;
        let name = fields.string("resource_name")?.to_owned();
        let changes = fields.array("configs", |fields| {
            let name = fields.string("name")?.to_owned();
            let operation = fields.i8("config_operation")?;
            let value = fields.nullable_string("value")?.map(str::to_owned);
            fields.tags()?;
            Ok(Change {
                name,
                operation,
                value,
            })
        })?;
        fields.tags()?;
        Ok((Resource { kind, name }, changes))
    })?;
    let validate_only = fields.bool("validate_only")?;
    fields.end()?;
    let altered = each(context, wanted, validate_only, |topic, changes| {
        changed(context, topic, changes)
    });
    Ok(Answer::later(async move {
        let mut responses = Vec::with_capacity(altered.len());
        for (resource, altered) in altered {
            let (error_code, error_message) = outcome(altered).await;
            responses.push(
                AlterConfigsResourceResponse::default()
                    .with_error_code(error_code)
                    .with_error_message(error_message.map(Into::into))
                    .with_resource_type(resource.kind)
                    .with_resource_name(resource.name.into()),
            );
        }
        let response = IncrementalAlterConfigsResponse::default().with_responses(responses);
        Reply::of(&response, version)
    }))
}

fn changed(context: &Context, topic: &Topic, changes: &[Change]) -> Result<Vec<Pair>, Failure> {
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for change in changes {
        let option = topic_options::option(&change.name)?;
        if !seen.insert(option.name) {
            return Err(twice(&change.name));
        }
        if change.operation == operation::DELETE {
            pairs.extend(option.default_pair(context.service().topic_defaults()));
            continue;
        }
        let value = change.value.as_deref();
        let value = value.ok_or_else(|| no_value(&change.name))?;
        pairs.extend(match change.operation {
            operation::SET => option.ours(value)?,
            operation::APPEND | operation::SUBTRACT => {
                listed(option, change.operation, value, topic)?
            }
            other => {
                let message = format!("{} of {}: there is no such operation", other, option.name);
                return Err(Failure::new(code::INVALID_REQUEST, message));
            }
        });
    }
    Ok(pairs)
}

/// A list with more in it, or less.
fn listed(
    option: &TopicOption,
    operation: i8,
    value: &str,
    topic: &Topic,
) -> Result<Option<Pair>, Failure> {
    let name = option.name;
    if !option.is_list() {
        return Err(topic_options::invalid(format!(
            "{name} is no list: nothing can be added to it or taken from it"
        )));
    }
    let Some(words) = Policies::parse(value) else {
        let value = value.escape_debug();
        return Err(topic_options::invalid(format!(
            "{name} has no `{value}`; it has delete and compact"
        )));
    };
    let held = Policies::of(&topic.config);
    let held = match operation {
        operation::APPEND => held.with(words),
        _ => held.without(words),
    };
    option.ours(held.text())
}
