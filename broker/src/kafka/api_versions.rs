//! ApiVersions: what is spoken here, and who is asking (KIP-511).

use headwater::limits::KAFKA_CLIENT_NAME_BYTES_MAX;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use super::answer::Answer;
use super::api::{APIS, Request};
use super::context::{Client, Context};
use super::error::{self, code};
use super::wire::Malformed;

pub(super) const KEY: i16 = 18;

const PRODUCE: i16 = 0;

/// The first version in which clients say who they are.
const VERSION_WITH_CLIENT: i16 = 3;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let fields = &mut request.fields;
    let mut error_code = error::NONE;
    if request.version >= VERSION_WITH_CLIENT {
        let name = fields.string("client_software_name")?;
        let version = fields.string("client_software_version")?;
        if is_name(name) && is_name(version) {
            let client = Client {
                name: name.to_owned(),
                version: version.to_owned(),
            };
            if context.introduce(client) {
                let client_id = request.client_id.unwrap_or_default();
                tracing::debug!(client_id, name, version, "a Kafka client");
            }
        } else {
            error_code = code::INVALID_REQUEST;
        }
    }
    fields.end()?;
    Ok(Answer::now(&spoken(error_code), request.version))
}

/// The answer to a version that is not spoken: in the oldest form, which every client reads, with what is spoken.
pub(super) fn unsupported() -> Answer {
    Answer::now(&spoken(code::UNSUPPORTED_VERSION), 0)
}

fn spoken(error_code: i16) -> ApiVersionsResponse {
    let apis = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key)
            .with_min_version(match api.key {
                // librdkafka before 2.11.1 compresses only where Produce is spoken from 0 on, as Kafka's brokers go on
                // to say (KAFKA-18659); its older versions are refused none the less.
                PRODUCE => 0,
                _ => *api.versions().start(),
            })
            .with_max_version(*api.versions().end())
    });
    ApiVersionsResponse::default()
        .with_error_code(error_code)
        .with_api_keys(apis.collect())
}

/// KIP-511: letters, digits, `-` and `.`, and neither at the ends.
fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= KAFKA_CLIENT_NAME_BYTES_MAX
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| is_inner(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_software_are_those_that_kafka_takes() {
        for name in ["librdkafka", "2.8.0", "confluent-kafka-python", "a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a.", "a b", "a\n", "\u{e4}", &"a".repeat(1_000)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
