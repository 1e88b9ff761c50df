//! Addresses, as users type them.

use super::Target;
use crate::{Address, parse_address};

pub(super) const ADDRESS: Target = Target {
    name: "address",
    run: |bytes| {
        if let Ok(text) = str::from_utf8(bytes) {
            check_address(text);
        }
    },
    seeds: || {
        let addresses = [
            "mem:name",
            "./data?segment_bytes=1048576&create=false",
            "file:/var/lib/head%20water",
            "C:\\data",
            "localhost:9092,[::1]:9093",
            "headwater://user:secret@one,two:1?close_timeout_ms=5",
            "kafka://b1:9092",
            "unix:/run/x.sock",
        ];
        addresses.map(|address| address.as_bytes().to_vec()).into()
    },
};

fn check_address(text: &str) {
    match parse_address(text) {
        Ok(Address::Tcp(hosts)) => {
            assert!(!hosts.is_empty());
            let printed = Address::Tcp(hosts.clone()).to_string();
            assert_eq!(parse_address(&printed), Ok(Address::Tcp(hosts)), "{text:?}");
        }
        Ok(address) => assert!(!address.to_string().is_empty()),
        Err(error) => assert!(!error.message().is_empty()),
    }
}
