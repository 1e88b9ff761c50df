//! What topics and the broker are configured to be.

use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::{
    AlterConfigsResponse, CreateTopicsResponse, DescribeConfigsResponse,
    IncrementalAlterConfigsResponse,
};

use super::admin::{change, creatable, create, describe, replace, text};
use super::*;

/// What is set of a topic, or of the broker: each option with its value and its source.
async fn configs(
    client: &mut Client,
    version: i16,
    resource: i8,
    name: &str,
) -> DescribeConfigsResult {
    let request = describe(resource, name);
    let answer: DescribeConfigsResponse = client.ask(32, version, &request).await;
    let [result] = <[_; 1]>::try_from(answer.results).unwrap();
    result
}

fn value<'a>(result: &'a DescribeConfigsResult, name: &str) -> (&'a str, i8) {
    let found = result.configs.iter().find(|it| &*it.name == name);
    let found = found.unwrap_or_else(|| panic!("no {name}"));
    (found.value.as_deref().unwrap(), found.config_source)
}

#[tokio::test]
async fn options_are_described_in_every_version_with_who_set_them() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let config = [
        ("retention.ms", "5000"),
        ("cleanup.policy", "compact,delete"),
    ];
    let request = create(vec![creatable("orders", 1, &config)]);
    let _: CreateTopicsResponse = client.ask(19, 7, &request).await;
    for version in 1..=4 {
        let found = configs(&mut client, version, 2, "orders").await;
        assert_eq!((found.error_code, found.resource_type), (0, 2));
        assert_eq!(value(&found, "retention.ms"), ("5000", 1));
        assert_eq!(value(&found, "cleanup.policy"), ("compact,delete", 1));
        assert_eq!(value(&found, "retention.bytes"), ("-1", 5));
        assert_eq!(value(&found, "message.timestamp.type"), ("CreateTime", 5));
        assert_eq!(value(&found, "compression.type"), ("producer", 5));
        assert_eq!(value(&found, "headwater.durability"), ("os", 5));
        let retention = found
            .configs
            .iter()
            .find(|it| &*it.name == "retention.ms")
            .unwrap();
        let synonyms = retention.synonyms.iter();
        let synonyms: Vec<_> = synonyms
            .map(|it| (&*it.name, it.value.as_deref(), it.source))
            .collect();
        let expected = [
            ("retention.ms", Some("5000"), 1),
            ("log.retention.ms", Some("-1"), 5),
        ];
        assert_eq!(synonyms, expected);
        assert_eq!(retention.config_type, if version >= 3 { 5 } else { 0 });
        assert_eq!(retention.documentation.as_deref().unwrap_or_default(), "");
        let broker = configs(&mut client, version, 4, "0").await;
        assert_eq!(value(&broker, "node.id"), ("0", 5));
        assert_eq!(value(&broker, "auto.create.topics.enable"), ("true", 4));
        assert!(broker.configs.iter().all(|it| it.read_only));
        for (resource, name, code) in [
            (2, "nothing", 3),
            (2, "a/b", 17),
            (4, "1", 42),
            (8, "0", 42),
        ] {
            let found = configs(&mut client, version, resource, name).await;
            assert_eq!((found.error_code, found.configs.len()), (code, 0), "{name}");
        }
    }
    let mut some = describe(2, "orders").with_include_documentation(true);
    some.resources[0].configuration_keys = Some(vec![text("retention.ms"), text("flush.ms")]);
    let answer: DescribeConfigsResponse = client.ask(32, 4, &some).await;
    let [only] = answer.results[0].configs.as_slice() else {
        panic!("{answer:?}")
    };
    assert!(
        only.documentation
            .as_deref()
            .unwrap()
            .starts_with("How long")
    );
}

#[tokio::test]
async fn options_are_replaced_as_a_whole_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    records::topic(&mut client, "orders").await;
    for version in 0..=2 {
        let first = replace(
            "orders",
            &[("retention.ms", "7000"), ("max.message.bytes", "2048")],
        );
        let answer: AlterConfigsResponse = client.ask(33, version, &first).await;
        assert_eq!(answer.responses[0].error_code, 0, "{:?}", answer.responses);
        let found = configs(&mut client, 4, 2, "orders").await;
        assert_eq!(value(&found, "max.message.bytes"), ("2048", 1));
        let only = replace("orders", &[]).with_validate_only(true);
        let answer: AlterConfigsResponse = client.ask(33, version, &only).await;
        assert_eq!(answer.responses[0].error_code, 0);
        let second = replace("orders", &[("retention.ms", "8000")]);
        let answer: AlterConfigsResponse = client.ask(33, version, &second).await;
        assert_eq!(answer.responses[0].error_code, 0);
        let found = configs(&mut client, 4, 2, "orders").await;
        assert_eq!(value(&found, "retention.ms"), ("8000", 1));
        assert_eq!(value(&found, "max.message.bytes"), ("1048588", 5));
        for (request, code) in [
            (replace("nothing", &[]), 3),
            (replace("orders", &[("flush.ms", "1")]), 40),
            (
                replace("orders", &[("retention.ms", "1"), ("retention.ms", "2")]),
                42,
            ),
        ] {
            let answer: AlterConfigsResponse = client.ask(33, version, &request).await;
            assert_eq!(answer.responses[0].error_code, code);
        }
        let mut broker = replace("0", &[]);
        broker.resources[0].resource_type = 4;
        let answer: AlterConfigsResponse = client.ask(33, version, &broker).await;
        assert_eq!(
            (
                answer.responses[0].error_code,
                answer.responses[0].resource_type
            ),
            (42, 4)
        );
    }
}

#[tokio::test]
async fn options_are_set_taken_back_and_lists_added_to_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    records::topic(&mut client, "orders").await;
    for version in 0..=1 {
        for (changes, expected) in [
            (
                &[("cleanup.policy", 2, Some("compact"))][..],
                [("cleanup.policy", "compact,delete")],
            ),
            (
                &[("cleanup.policy", 3, Some("delete"))],
                [("cleanup.policy", "compact")],
            ),
            (
                &[
                    ("retention.ms", 0, Some("9000")),
                    ("cleanup.policy", 1, None),
                ],
                [("retention.ms", "9000")],
            ),
            (
                &[("compression.type", 0, Some("producer"))],
                [("cleanup.policy", "delete")],
            ),
            (&[("retention.ms", 1, None)], [("retention.ms", "-1")]),
        ] {
            let request = change("orders", changes);
            let answer: IncrementalAlterConfigsResponse = client.ask(44, version, &request).await;
            assert_eq!(answer.responses[0].error_code, 0, "{changes:?}");
            let found = configs(&mut client, 4, 2, "orders").await;
            for (name, expected) in expected {
                assert_eq!(value(&found, name).0, expected);
            }
        }
        for (changes, code) in [
            (&[("retention.ms", 2, Some("1"))][..], 40),
            (&[("cleanup.policy", 3, Some("delete"))], 40),
            (&[("cleanup.policy", 2, Some("forget"))], 40),
            (&[("retention.ms", 0, None)], 42),
            (&[("retention.ms", 9, Some("1"))], 42),
            (
                &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)],
                42,
            ),
        ] {
            let request = change("orders", changes);
            let answer: IncrementalAlterConfigsResponse = client.ask(44, version, &request).await;
            assert_eq!(answer.responses[0].error_code, code, "{changes:?}");
            assert!(answer.responses[0].error_message.is_some());
        }
    }
}

#[tokio::test]
async fn what_is_taken_and_not_used_says_so_to_who_asks() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let config = [("segment.bytes", "1048576"), ("segment.ms", "60000")];
    let request = create(vec![creatable("orders", 1, &config)]);
    let created: CreateTopicsResponse = client.ask(19, 7, &request).await;
    assert_eq!(created.topics[0].error_code, 0);
    let request = describe(2, "orders").with_include_documentation(true);
    let answer: DescribeConfigsResponse = client.ask(32, 4, &request).await;
    let found = &answer.results[0];
    assert_eq!(value(found, "segment.bytes"), ("67108864", 5));
    assert_eq!(value(found, "segment.ms").1, 5);
    let unused: Vec<_> = found.configs.iter().filter(|it| it.read_only).collect();
    assert_eq!(unused.len(), 2);
    for option in unused {
        let documentation = option.documentation.as_deref().unwrap();
        assert!(
            documentation.starts_with("Taken and not used"),
            "{documentation}"
        );
    }
}
