use headwater::fuzzing::Mutator;

use super::*;

/// For each target; enough to meet every check of every request, short enough for every test run.
const INPUTS: usize = 1_000;

#[test]
fn well_formed_requests_of_every_api_and_version_are_answered() {
    for target in targets() {
        let name = target.name();
        let seeds = target.seeds();
        let versions = target.api.map_or(1, |api| api.versions().count());
        assert!(seeds.len() >= versions, "{name}");
        for seed in seeds {
            assert!(target.run(&seed), "{name}: {seed:02x?}");
            if target.api.is_some() {
                let longer = [&seed[..], &[0]].concat();
                assert!(!target.run(&longer), "{name}: {seed:02x?} and a zero");
                let cut = &seed[..seed.len() - 1];
                // What has no fields is whole with its header.
                assert!(!target.run(cut) || seed.len() <= 20, "{name}: {cut:02x?}");
            }
        }
    }
}

#[test]
fn damaged_requests_of_every_api_and_version_harm_nobody() {
    for target in targets() {
        let name = target.name();
        let seeds = target.seeds();
        let mut mutator = Mutator::new(0x6B61_666B);
        let mut answered = 0;
        for _ in 0..INPUTS {
            answered += usize::from(target.run(&mutator.input(&seeds)));
        }
        // Neither did all of them fail at the first byte.
        assert!((1..INPUTS).contains(&answered), "{name}: {answered}");
    }
}

#[test]
fn every_api_has_a_target_by_its_name() {
    let names: Vec<_> = targets().map(|target| target.name()).collect();
    assert_eq!(names.len(), APIS.len() + 1);
    assert!(names.iter().all(|name| target(name).is_some()));
    assert_eq!(target("find_coordinator").unwrap().api.unwrap().key, 10);
}
