use serde_json::Value;

use super::*;

const GOLDEN: &str = include_str!("../../../tests/golden/address.json");

fn kind(address: &Address) -> &'static str {
    match address {
        Address::Memory { .. } => "memory",
        Address::Folder(_) => "folder",
        Address::Tcp(_) => "tcp",
        Address::Unix(_) => "unix",
        Address::Tls(_) => "tls",
        Address::Kafka { .. } => "kafka",
    }
}

#[test]
fn every_golden_address_is_read_as_written_there() {
    let rows: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    for row in &rows {
        let text = row["address"].as_str().unwrap();
        match parse(text) {
            Ok((address, options)) => {
                assert_eq!(row["kind"], kind(&address), "{text}");
                assert_eq!(row["shown"], address.to_string(), "{text}");
                let wanted = row.get("options").and_then(Value::as_object);
                let found = options.entries();
                assert_eq!(
                    found.len(),
                    wanted.map_or(0, |wanted| wanted.len()),
                    "{text}"
                );
                for (name, value) in found {
                    assert_eq!(wanted.unwrap()[name], value, "{text}");
                }
            }
            Err(error) => {
                assert_eq!(row["error"], error.code().name(), "{text}: {error}");
                let says = row["says"].as_str().unwrap();
                assert!(error.message().contains(says), "{text}: {error}");
            }
        }
    }
    assert!(rows.len() > 60, "the golden file has lost rows");
}

#[test]
fn secrets_are_never_shown() {
    let address = parse_address("headwater://me:secret@host:1").unwrap();
    assert!(!format!("{address} {address:?}").contains("secret"));
    let error = parse_address("headwater://me:secret@ho st").unwrap_err();
    assert!(!error.message().contains("secret"), "{error}");
}

#[test]
fn a_user_is_found_where_one_can_be() {
    for address in [
        "headwater://me:secret@host:1",
        "headwater://me@one,two?close_timeout_ms=5",
        "kafkas://me@host",
    ] {
        assert!(names_user(address), "{address}");
    }
    for address in [
        "headwater://host",
        "headwater://host?client_id=me@home",
        "./me@home",
        "unix:/run/me@home",
        "file:///me@home",
        "",
    ] {
        assert!(!names_user(address), "{address}");
    }
}

#[test]
fn a_tilde_is_the_home_folder() {
    let home = std::env::home_dir().unwrap();
    assert_eq!(
        parse_address("~/data").unwrap(),
        Address::Folder(home.join("data"))
    );
    assert_eq!(parse_address("~").unwrap(), Address::Folder(home));
    assert_eq!(parse_address("./~").unwrap(), Address::Folder("./~".into()));
}

#[test]
fn a_zero_byte_is_refused() {
    let error = parse_address("./da\0ta").unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidAddress);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}", start in proptest::sample::select(vec![
        "", "mem:", "file:", "file://", "unix:", "headwater://", "[", "./", "C:",
    ])) {
        let _ = parse(&format!("{start}{text}"));
    }

    #[test]
    fn what_was_read_is_written_so_that_it_is_read_again(
        hosts in proptest::collection::vec(("[a-z][a-z0-9-]{0,10}", 1..=65_535_u16), 1..4),
    ) {
        let text: Vec<_> = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let address = parse_address(&text.join(",")).unwrap();
        proptest::prop_assert_eq!(parse_address(&address.to_string()).unwrap(), address);
    }
}
