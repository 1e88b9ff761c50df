//! Deliberate bugs that what goes on beside has to find.

use super::super::seeds::found;
use crate::world::simulated::Bug;

#[test]
fn deliberate_bugs_are_found_beside() {
    let rules: [(Bug, &[&str]); 4] = [
        (Bug::TruncationUntold, &["was not told", "has not seen"]),
        (Bug::LossUntold, &["their producer was not told"]),
        (
            Bug::DeletedToEnd,
            &["that nobody deleted", "nobody had offset"],
        ),
        (Bug::OldTopicHeld, &["is committed and only", "no end in"]),
    ];
    for (bug, rules) in rules {
        let found = found(bug, rules);
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
