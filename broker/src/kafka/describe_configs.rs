//! DescribeConfigs: the options of topics and of the broker.

use std::collections::HashSet;

use headwater::engine::topic_config::{TopicConfig, TopicDefaults, check_topic_name};
use headwater::limits;
use headwater::service::Service;
use kafka_protocol::messages::DescribeConfigsResponse;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::answer::Answer;
use super::api::Request;
use super::context::{Context, NODE_ID};
use super::error::{Failure, code};
use super::topic_options::{OPTIONS, TopicOption, kind};
use super::wire::Malformed;

/// What can have options, in Kafka's numbers.
pub(super) mod resource {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
}

/// Who has set an option, in Kafka's numbers.
mod from {
    pub(super) const TOPIC: i8 = 1;
    pub(super) const BROKER: i8 = 4;
    pub(super) const DEFAULT: i8 = 5;
}

/// Whose options are asked for, and which of them; none: all.
#[derive(Debug)]
struct Wanted {
    resource: i8,
    name: String,
    keys: Option<HashSet<String>>,
}

/// How much is to be said of each option.
#[derive(Clone, Copy, Debug)]
struct Detail {
    version: i16,
    synonyms: bool,
    documentation: bool,
}

/// An option, its value and who has set it.
struct Entry {
    name: &'static str,
    value: String,
    source: i8,
    /// The same of the broker, where the topic's own is set; and the broker's name of it.
    synonym: Option<(&'static str, String)>,
    kind: i8,
    is_read_only: bool,
    documentation: &'static str,
}

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let wanted = fields.array("resources", |fields| {
        let resource = fields.i8("resource_type")?;
        let name = fields.string("resource_name")?.to_owned();
        let keys = fields.nullable_array("configuration_keys", |fields| {
            Ok(fields.string("configuration_key")?.to_owned())
        })?;
        fields.tags()?;
        // Some clients ask for all of them by naming none.
        let keys = keys.filter(|keys| !keys.is_empty());
        Ok(Wanted {
            resource,
            name,
            keys: keys.map(|keys| keys.into_iter().collect()),
        })
    })?;
    let synonyms = fields.bool("include_synonyms")?;
    let documentation = version >= 3 && fields.bool("include_documentation")?;
    fields.end()?;
    let detail = Detail {
        version,
        synonyms,
        documentation,
    };
    let mut seen = HashSet::new();
    let results = wanted.into_iter().map(|wanted| {
        // Asked for twice it is answered once in full: an answer is not to be longer than all topics make it.
        let is_first = seen.insert((wanted.resource, wanted.name.clone()));
        described(context, &wanted, detail, is_first)
    });
    let response = DescribeConfigsResponse::default().with_results(results.collect());
    Ok(Answer::now(&response, version))
}

fn described(
    context: &Context,
    wanted: &Wanted,
    detail: Detail,
    is_first: bool,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(wanted.resource)
        .with_resource_name(wanted.name.clone().into());
    let found = if is_first {
        entries(context, wanted)
    } else {
        Err(Failure::new(code::INVALID_REQUEST, "it is asked for twice"))
    };
    match found {
        Ok(entries) => {
            let wanted = |entry: &Entry| {
                let keys = wanted.keys.as_ref();
                keys.is_none_or(|keys| keys.contains(entry.name))
            };
            let entries = entries.into_iter().filter(wanted);
            result.with_configs(entries.map(|entry| entry.described(detail)).collect())
        }
        Err(failure) => result
            .with_error_code(failure.code)
            .with_error_message(Some(failure.message.into())),
    }
}

fn entries(context: &Context, wanted: &Wanted) -> Result<Vec<Entry>, Failure> {
    match wanted.resource {
        resource::TOPIC => {
            check_topic_name(&wanted.name).map_err(|error| Failure::from(&error))?;
            let Some(topic) = context.service().topic(&wanted.name) else {
                let message = format!("topic `{}` does not exist", wanted.name);
                return Err(Failure::new(code::UNKNOWN_TOPIC_OR_PARTITION, message));
            };
            Ok(of_topic(&topic.config, context.service()))
        }
        // The defaults of all brokers that were changed: none can be.
        resource::BROKER if wanted.name.is_empty() => Ok(Vec::new()),
        resource::BROKER if wanted.name == NODE_ID.to_string() => Ok(of_broker(context)),
        resource::BROKER => Err(Failure::new(
            code::INVALID_REQUEST,
            format!(
                "there is no broker `{}`; this is number {NODE_ID}",
                wanted.name.escape_debug()
            ),
        )),
        other => Err(Failure::new(
            code::INVALID_REQUEST,
            format!("resources of type {other} have no options here; topics are 2, brokers 4"),
        )),
    }
}

/// Who has set an option of a topic: the topic, or nobody.
pub(super) fn source(option: &TopicOption, config: &TopicConfig, defaults: TopicDefaults) -> i8 {
    if option.value(config) == option.value(&TopicConfig::new(defaults)) {
        from::DEFAULT
    } else {
        from::TOPIC
    }
}

fn of_topic(config: &TopicConfig, service: &Service) -> Vec<Entry> {
    let defaults = service.topic_defaults();
    let standard = TopicConfig::new(defaults);
    let entries = OPTIONS.iter().filter_map(|option| {
        // What is taken and not used is listed too, so that who asks is told.
        let of_log = option.value_of_log(service);
        Some(Entry {
            name: option.name,
            is_read_only: of_log.is_some(),
            value: of_log.or_else(|| option.value(config))?,
            source: source(option, config, defaults),
            synonym: option.broker_name.zip(option.value(&standard)),
            kind: option.kind,
            documentation: option.documentation,
        })
    });
    entries.collect()
}

/// Options of a broker of Kafka's that tools look for, and that are nobody's to set here.
const FIXED: [(&str, &str, i8, &str); 5] = [
    (
        "broker.id",
        "0",
        kind::INT,
        "The number of this broker, the only one.",
    ),
    (
        "default.replication.factor",
        "1",
        kind::INT,
        "There is one broker.",
    ),
    (
        "delete.topic.enable",
        "true",
        kind::BOOLEAN,
        "Topics can be deleted.",
    ),
    (
        "node.id",
        "0",
        kind::INT,
        "The number of this broker, the only one.",
    ),
    (
        "num.partitions",
        "1",
        kind::INT,
        "Partitions of topics that do not say.",
    ),
];

/// What of a broker of Kafka's tools look for.
fn of_broker(context: &Context) -> Vec<Entry> {
    let service = context.service();
    let node = context.node();
    let entry = |name, value: String, kind, source, documentation| Entry {
        name,
        value,
        source,
        synonym: None,
        kind,
        is_read_only: true,
        documentation,
    };
    let fixed = FIXED.map(|(name, value, kind, documentation)| {
        entry(name, value.to_owned(), kind, from::DEFAULT, documentation)
    });
    let mut entries = Vec::from(fixed);
    entries.extend([
        entry(
            "advertised.listeners",
            format!("PLAINTEXT://{}:{}", node.host, node.port),
            kind::STRING,
            from::BROKER,
            "How this connection reaches the broker.",
        ),
        entry(
            "auto.create.topics.enable",
            service.creates_topics().to_string(),
            kind::BOOLEAN,
            from::BROKER,
            "Whether a topic is created when it is first named.",
        ),
        entry(
            "offset.metadata.max.bytes",
            limits::OFFSET_METADATA_BYTES_MAX.to_string(),
            kind::INT,
            from::DEFAULT,
            "Bytes that may be committed beside an offset.",
        ),
    ]);
    let standard = TopicConfig::new(service.topic_defaults());
    entries.extend(OPTIONS.iter().filter_map(|option| {
        let (name, value) = option.broker_name.zip(option.value(&standard))?;
        let documentation = option.documentation;
        Some(entry(
            name,
            value,
            option.kind,
            from::DEFAULT,
            documentation,
        ))
    }));
    entries.sort_by_key(|entry| entry.name);
    entries
}

impl Entry {
    fn described(self, detail: Detail) -> DescribeConfigsResourceResult {
        let mut described = DescribeConfigsResourceResult::default()
            .with_name(self.name.into())
            .with_value(Some(self.value.clone().into()))
            .with_read_only(self.is_read_only)
            .with_config_source(self.source);
        if detail.synonyms {
            let own = (self.name, self.value, self.source);
            let broker = self
                .synonym
                .map(|(name, value)| (name, value, from::DEFAULT));
            let own = Some(own).filter(|own| own.2 != from::DEFAULT || broker.is_none());
            let synonyms = own.into_iter().chain(broker).map(|(name, value, source)| {
                DescribeConfigsSynonym::default()
                    .with_name(name.into())
                    .with_value(Some(value.into()))
                    .with_source(source)
            });
            described.synonyms = synonyms.collect();
        }
        if detail.version >= 3 {
            described.config_type = self.kind;
            let documentation = detail.documentation.then(|| self.documentation.into());
            described.documentation = documentation;
        }
        described
    }
}
