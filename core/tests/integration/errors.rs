//! The table of errors, as every language has it.

use std::fmt::Write as _;

use headwater::{ErrorCode, ErrorKind};
use serde_json::json;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/errors.json");

/// With `HEADWATER_BLESS=1` the golden file is written anew.
#[test]
fn the_error_table_equals_the_golden_file_that_every_language_is_tested_with() {
    let mut found = String::from("[\n");
    for (index, code) in ErrorCode::ALL.iter().enumerate() {
        let kind = code.kind();
        let row = json!({
            "kind": kind.name(),
            "code": code.name(),
            "number": *code as u16,
            "retriable": kind.is_retriable(),
            "fatal": kind.is_fatal(),
        });
        let comma = if index + 1 == ErrorCode::ALL.len() {
            ""
        } else {
            ","
        };
        writeln!(found, "  {row}{comma}").unwrap();
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

#[test]
fn every_kind_has_a_code_and_every_number_names_its_code() {
    for kind in ErrorKind::ALL {
        assert!(
            ErrorCode::ALL.iter().any(|code| code.kind() == *kind),
            "{kind:?}"
        );
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(*code as u16), Some(*code));
    }
}
