//! DeleteTopics: by name, and since version 6 by id.

use std::collections::HashSet;

use bytes::Bytes;
use headwater::protocol::request::Request as NativeRequest;
use headwater::protocol::response::Response;
use headwater::service::Run;
use headwater::{Completion, Pending};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsResponse, TopicName};
use uuid::Uuid;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{Failure, code};
use super::wire::Malformed;

/// A topic as it is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    name: Option<String>,
    /// Zeros: none.
    id: [u8; 16],
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = if version >= 6 {
        fields.array("topics", |fields| {
            let name = fields.nullable_string("name")?.map(str::to_owned);
            let id = fields.uuid("topic_id")?;
            fields.tags()?;
            Ok(Wanted { name, id })
        })?
    } else {
        fields.array("topic_names", |fields| {
            let name = Some(fields.string("name")?.to_owned());
            Ok(Wanted { name, id: [0; 16] })
        })?
    };
    fields.i32("timeout_ms")?;
    fields.end()?;
    let mut seen = HashSet::new();
    // All are found before the first one goes.
    let found: Vec<_> = wanted
        .into_iter()
        .map(|mut wanted| {
            let found = find(context, &mut wanted);
            (wanted, found)
        })
        .collect();
    let deletions: Vec<_> = found
        .into_iter()
        .map(|(wanted, found)| {
            let deletion = found.and_then(|name| {
                if seen.insert(name.clone()) {
                    Ok(delete(context, name))
                } else {
                    Err(Failure::new(
                        code::INVALID_REQUEST,
                        "the topic is named twice",
                    ))
                }
            });
            (wanted, deletion)
        })
        .collect();
    Ok(Answer::later(async move {
        let mut results = Vec::with_capacity(deletions.len());
        for (wanted, deletion) in deletions {
            let done = match deletion {
                Ok(pending) => pending.await.map_err(|error| Failure::from(&error)),
                Err(failure) => Err(failure),
            };
            results.push(result(version, wanted, done.err()));
        }
        let response = DeleteTopicsResponse::default().with_responses(results);
        Reply::of(&response, version)
    }))
}

/// The topic's name; what is known of it besides is noted.
fn find(context: &Context, wanted: &mut Wanted) -> Result<String, Failure> {
    let service = context.service();
    match (&wanted.name, wanted.id) {
        (Some(name), id) if id == [0; 16] => {
            let Some(topic) = service.topic(name) else {
                let message = format!("topic `{}` does not exist", name.escape_debug());
                return Err(Failure::new(code::UNKNOWN_TOPIC_OR_PARTITION, message));
            };
            wanted.id = topic.uuid;
            Ok(name.clone())
        }
        (None, id) if id != [0; 16] => {
            let Some(topic) = service.topic_by_uuid(&id) else {
                let message = format!("there is no topic of id {}", Uuid::from_bytes(id));
                return Err(Failure::new(code::UNKNOWN_TOPIC_ID, message));
            };
            wanted.name = Some(topic.name.to_string());
            Ok(topic.name.to_string())
        }
        _ => Err(Failure::new(
            code::INVALID_REQUEST,
            "a topic is named by its name or by its id, not by both, and not by neither",
        )),
    }
}

fn delete(context: &Context, name: String) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    let request = NativeRequest::DeleteTopic { name };
    let session = context.session();
    session.submit(request, Bytes::new(), Run::Io, completion);
    pending
}

fn result(version: i16, wanted: Wanted, failure: Option<Failure>) -> DeletableTopicResult {
    let name = wanted.name.map(|name| TopicName(name.into()));
    let mut result = DeletableTopicResult::default().with_name(name);
    if version >= 6 {
        result.topic_id = Uuid::from_bytes(wanted.id);
    }
    if let Some(failure) = failure {
        result.error_code = failure.code;
        if version >= 5 {
            result.error_message = Some(failure.message.into());
        }
    }
    result
}
