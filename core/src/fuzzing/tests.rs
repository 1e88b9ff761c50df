use std::panic::{self, AssertUnwindSafe};

use super::*;

/// Enough to meet every check of a decoder, short enough for every test run.
const INPUTS: usize = 4_000;

/// Runs a target over its seeds and over inputs made of them; shows the input that fails.
fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    let mut mutator = Mutator::new(0x6865_6164);
    let made = std::iter::repeat_with(|| mutator.input(&seeds)).take(INPUTS);
    for input in seeds.clone().into_iter().chain(made) {
        let run = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        if run.is_err() {
            panic!(
                "target {name} fails on these {} bytes: {input:02x?}",
                input.len()
            );
        }
    }
}

macro_rules! smoke {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { smoke(stringify!($name)); })*

        #[test]
        fn every_target_has_a_test() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

smoke! {
    record_batch,
    varint,
    compressed_records,
    receive_block,
    send_rows,
    completion_rows,
    folder_format,
    segment_file,
    log_frames,
    group_frames,
    consumer_protocol,
    footer,
    snapshot,
    cold_segment,
    service,
    opening,
    native_frames,
    address,
}

#[test]
fn a_service_opens_on_its_seeds() {
    for seed in (service::SERVICE.seeds)() {
        assert!(service::check_service(&seed));
    }
}

#[test]
fn every_target_has_a_fuzzer() {
    for target in TARGETS {
        let path = format!(
            "{}/fuzz/fuzz_targets/{}.rs",
            env!("CARGO_MANIFEST_DIR"),
            target.name
        );
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(
            source.contains(&format!("run(\"{}\"", target.name)),
            "{path}"
        );
    }
}

#[test]
fn a_mutator_makes_the_same_inputs_for_the_same_seed() {
    let seeds = vec![b"0123456789".to_vec(), b"abcdef".to_vec()];
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed);
        std::iter::repeat_with(|| mutator.input(&seeds))
            .take(100)
            .collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    let distinct: std::collections::BTreeSet<_> = inputs(1).into_iter().collect();
    assert!(distinct.len() > 80, "{} of 100", distinct.len());
}
