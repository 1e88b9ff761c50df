use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::ids::Durability;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/options.json");

fn row_json(row: &OptionRow) -> Value {
    let range = match row.range {
        Range::Numbers { min, max } => json!({ "min": min, "max": max }),
        Range::Limit => json!({ "min": 1, "or": -1 }),
        Range::Words(words) => json!({ "words": words }),
        Range::Any(words) => json!({ "text": words }),
    };
    json!({
        "group": row.group,
        "name": row.name,
        "kind": row.kind,
        "default": row.default,
        "range": range,
        "doc": row.doc,
    })
}

/// With `HEADWATER_BLESS=1` the golden file is written anew.
#[test]
fn the_table_equals_the_golden_file_that_every_language_is_tested_with() {
    let mut found = String::from("[\n");
    for (index, row) in table().iter().enumerate() {
        let comma = if index + 1 == table().len() { "" } else { "," };
        writeln!(found, "  {}{comma}", row_json(row)).unwrap();
    }
    found.push_str("]\n");
    if std::env::var_os("HEADWATER_BLESS").is_some() {
        std::fs::write(GOLDEN, &found).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(GOLDEN).unwrap(),
        found,
        "HEADWATER_BLESS=1 writes it anew"
    );
}

macro_rules! for_each_group {
    ($check:ident) => {
        $check!(ProducerOptions);
        $check!(ConsumerOptions);
        $check!(ProcessOptions);
        $check!(TopicOptions);
        $check!(ConnectOptions);
        $check!(ServeOptions);
    };
}

#[test]
fn every_default_is_a_value_that_its_option_takes_and_prints_the_same() {
    macro_rules! check {
        ($options:ident) => {
            for row in $options::ROWS {
                let mut options = $options::default();
                // A default in words depends on something else and is no value.
                if options.set(row.name, row.default).is_ok() {
                    options.check().unwrap();
                    let entries = options.entries();
                    assert_eq!(entries, [(row.name, row.default.to_owned())]);
                } else {
                    let is_words = row.default.contains([' ', '\'', ':']) || row.default == "all";
                    assert!(is_words, "{} {}: {}", row.group, row.name, row.default);
                }
            }
        };
    }
    for_each_group!(check);
    assert_eq!(ProducerOptions::default().linger_ms(), 0);
    assert_eq!(ProducerOptions::default().batch_bytes(), 131_072);
    assert_eq!(ConsumerOptions::default().start(), Start::Earliest);
    assert_eq!(ConnectOptions::default().exit_timeout_ms(), 2_000);
}

#[test]
fn the_ends_of_every_range_are_taken_and_what_is_beyond_is_refused() {
    macro_rules! check {
        ($options:ident) => {
            for row in $options::ROWS {
                let Range::Numbers { min, max } = row.range else {
                    continue;
                };
                let set = |value: i64| $options::default().set(row.name, &value.to_string());
                set(min).unwrap();
                set(max).unwrap();
                let beyond = [min.checked_sub(1), max.checked_add(1)];
                for value in beyond.into_iter().flatten() {
                    let error = set(value).unwrap_err();
                    assert_eq!(error.code(), ErrorCode::InvalidOption);
                    let message = error.message();
                    let named = [row.name, &value.to_string(), &min.to_string()];
                    assert!(named.iter().all(|it| message.contains(it)), "{message}");
                }
            }
        };
    }
    for_each_group!(check);
}

#[test]
fn a_name_is_taken_in_every_spelling() {
    for name in [
        "linger_ms",
        "lingerMs",
        "linger.ms",
        "linger-ms",
        "LINGER_MS",
    ] {
        let mut options = ProducerOptions::default();
        let set = options.set(name, "5");
        // All capitals are no spelling of any language.
        assert_eq!(set.is_ok(), name != "LINGER_MS", "{name}");
        assert_eq!(options.linger_ms.is_some(), set.is_ok());
    }
    let mut options = TopicOptions::default();
    options.set("min.insync.replicas", "1").unwrap();
    options.set("cleanup.policy", "compact").unwrap();
    assert_eq!(options.cleanup_policy, Some(CleanupPolicy::Compact));
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let nearest = |name: &str| ProducerOptions::default().set(name, "1").unwrap_err();
    let error = nearest("lingerms");
    assert_eq!(error.code(), ErrorCode::UnknownOption);
    assert_eq!(
        error.message(),
        "there is no producer option `lingerms`; did you mean `linger_ms`?"
    );
    assert!(
        nearest("batch_size")
            .message()
            .ends_with("did you mean `batch_bytes`?")
    );
    let far = nearest("colour");
    assert_eq!(far.message(), "there is no producer option `colour`");
    assert_eq!(
        nearest(&"x".repeat(100_000)).code(),
        ErrorCode::UnknownOption
    );
}

#[test]
fn values_of_the_wrong_form_are_refused_with_what_was_found() {
    let refuse = |name: &str, value: &str| ConsumerOptions::default().set(name, value).unwrap_err();
    for (name, value) in [
        ("max_block_records", "many"),
        ("max_block_records", "-1"),
        ("max_block_records", "99999999999"),
        ("ack", "later"),
        ("start", "-5"),
        ("start", "yesterday"),
        ("until", "earliest"),
        ("partitions", "0,x"),
        ("partitions", "-1"),
        ("group", ""),
    ] {
        let error = refuse(name, value);
        assert_eq!(error.code(), ErrorCode::InvalidOption, "{name} {value}");
        assert!(
            error.message().contains(name) && error.message().contains(value),
            "{error}"
        );
    }
    assert!(
        ProducerOptions::default()
            .set("durability", "paper")
            .is_err()
    );
    assert!(TopicOptions::default().set("retention_ms", "0").is_err());
    TopicOptions::default().set("retention_ms", "-1").unwrap();
}

#[test]
fn a_field_that_was_set_from_code_is_checked_too() {
    let wrong = ProducerOptions {
        in_flight: Some(6),
        ..Default::default()
    };
    let error = wrong.check().unwrap_err();
    assert_eq!(
        error.message(),
        "producer option `in_flight` is `6`; it must be 1 to 5"
    );
    let wrong = ConsumerOptions {
        start: Some(Start::Offset(-1)),
        ..Default::default()
    };
    assert!(wrong.check().is_err());
    let wrong = ConsumerOptions {
        partitions: Some(vec![0, -3]),
        ..Default::default()
    };
    assert!(wrong.check().is_err());
}

#[test]
fn places_are_offsets_and_times() {
    let start = |text: &str| {
        let mut options = ConsumerOptions::default();
        options.set("start", text).map(|()| options.start.unwrap())
    };
    assert_eq!(start("17"), Ok(Start::Offset(17)));
    assert_eq!(start("offset:17"), Ok(Start::Offset(17)));
    assert_eq!(
        start("time:1700000000000"),
        Ok(Start::Time(1_700_000_000_000))
    );
    assert_eq!(
        start("2023-11-14T22:13:20Z"),
        Ok(Start::Time(1_700_000_000_000))
    );
    assert_eq!(
        start("2023-11-14 22:13:20.5"),
        Ok(Start::Time(1_700_000_000_500))
    );
    assert_eq!(start("1970-01-01"), Ok(Start::Time(0)));
    assert_eq!(start("2024-02-29"), Ok(Start::Time(1_709_164_800_000)));
    for wrong in [
        "2023-02-29",
        "2023-13-01",
        "2023-11-14T24:00",
        "2023-11-14T22",
        "20x3-01-01",
    ] {
        assert!(start(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_one_leaves_open_the_other_sets() {
    let own = ProducerOptions {
        linger_ms: Some(1),
        ..Default::default()
    };
    let other = ProducerOptions {
        linger_ms: Some(2),
        durability: Some(Durability::Os),
        ..Default::default()
    };
    let both = own.or(&other);
    assert_eq!(
        (both.linger_ms, both.durability),
        (Some(1), Some(Durability::Os))
    );
}

#[test]
fn a_topics_configuration_leaves_out_what_is_not_the_topics() {
    let options = TopicOptions {
        partitions: Some(3),
        durability: Some(Durability::Os),
        exist_ok: Some(true),
        ..Default::default()
    };
    let expected = [("partitions", "3"), ("durability", "os")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(options.config(), expected);
}
