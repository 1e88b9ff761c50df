//! AlterConfigs: the options of a topic are these, and all others are the broker's to say.
//!
//! What is common with IncrementalAlterConfigs is here: one alteration a topic, in the log or not at all.

use std::collections::HashSet;

use bytes::Bytes;
use headwater::engine::topics::Topic;
use headwater::protocol::request::Request as NativeRequest;
use headwater::protocol::response::Response;
use headwater::service::Run;
use headwater::{Completion, Pending};
use kafka_protocol::messages::AlterConfigsResponse;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::describe_configs::resource;
use super::error::{Failure, NONE, code};
use super::once::each_once;
use super::topic_options::{self, OPTIONS, Pair};
use super::wire::Malformed;

/// Whose options are altered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resource {
    pub(super) kind: i8,
    pub(super) name: String,
}

/// What comes of an alteration; nothing to wait for where nothing changes.
pub(super) type Altered = Result<Option<Pending<Response>>, Failure>;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = fields.array("resources", |fields| {
        let kind = fields.i8("resource_type")?;
        let name = fields.string("resource_name")?.to_owned();
        let config = fields.array("configs", |fields| {
            let name = fields.string("name")?.to_owned();
            let value = fields.nullable_string("value")?.map(str::to_owned);
            fields.tags()?;
            Ok((name, value))
        })?;
        fields.tags()?;
        Ok((Resource { kind, name }, config))
    })?;
    let validate_only = fields.bool("validate_only")?;
    fields.end()?;
    let altered = each(context, wanted, validate_only, |_, config| {
        replaced(context, config)
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
        let response = AlterConfigsResponse::default().with_responses(responses);
        Reply::of(&response, version)
    }))
}

/// Starts each alteration: `pairs` says what of a topic is to be set.
pub(super) fn each<T>(
    context: &Context,
    wanted: Vec<(Resource, T)>,
    validate_only: bool,
    pairs: impl Fn(&Topic, &T) -> Result<Vec<Pair>, Failure>,
) -> Vec<(Resource, Altered)> {
    each_once(
        &wanted,
        |(resource, _)| resource,
        |(resource, changes)| {
            let topic = topic(context, resource)?;
            let pairs = pairs(&topic, changes)?;
            alter(context, &resource.name, pairs, validate_only)
        },
    )
}

/// Kafka's number for what became of it, and words.
pub(super) async fn outcome(altered: Altered) -> (i16, Option<String>) {
    let failure = match altered {
        Ok(Some(pending)) => pending
            .await
            .err()
            .map(|error| topic_options::failure(&error)),
        Ok(None) => None,
        Err(failure) => Some(failure),
    };
    failure.map_or((NONE, None), |failure| {
        (failure.code, Some(failure.message))
    })
}

fn topic(context: &Context, resource: &Resource) -> Result<Topic, Failure> {
    if resource.kind != resource::TOPIC {
        let message = if resource.kind == resource::BROKER {
            "the broker's options are given when it starts".to_owned()
        } else {
            format!("resources of type {} have no options here", resource.kind)
        };
        return Err(Failure::new(code::INVALID_REQUEST, message));
    }
    context.service().topic(&resource.name).ok_or_else(|| {
        let message = format!("topic `{}` does not exist", resource.name.escape_debug());
        Failure::new(code::UNKNOWN_TOPIC_OR_PARTITION, message)
    })
}

fn alter(context: &Context, name: &str, config: Vec<Pair>, validate_only: bool) -> Altered {
    let checked = context.service().check_alteration(name, &config);
    checked.map_err(|error| topic_options::failure(&error))?;
    if validate_only || config.is_empty() {
        return Ok(None);
    }
    let (completion, pending) = Completion::pair();
    let request = NativeRequest::AlterTopic {
        name: name.to_owned(),
        config,
    };
    let session = context.session();
    session.submit(request, Bytes::new(), Run::Io, completion);
    Ok(Some(pending))
}

/// Everything that is named, and the defaults of everything else.
fn replaced(context: &Context, config: &[(String, Option<String>)]) -> Result<Vec<Pair>, Failure> {
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for (name, value) in config {
        let option = topic_options::option(name)?;
        if !seen.insert(option.name) {
            return Err(twice(name));
        }
        pairs.extend(option.ours(value.as_deref().ok_or_else(|| no_value(name))?)?);
    }
    let defaults = context.service().topic_defaults();
    let others = OPTIONS.iter().filter(|option| !seen.contains(option.name));
    pairs.extend(others.filter_map(|option| option.default_pair(defaults)));
    Ok(pairs)
}

pub(super) fn twice(name: &str) -> Failure {
    Failure::new(code::INVALID_REQUEST, format!("{name} is set twice"))
}

pub(super) fn no_value(name: &str) -> Failure {
    Failure::new(code::INVALID_REQUEST, format!("{name} has no value"))
}
