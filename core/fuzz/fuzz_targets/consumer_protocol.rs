#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| headwater::fuzzing::run("consumer_protocol", bytes));
