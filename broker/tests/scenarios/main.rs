//! Every scenario of `examples/scenarios`, as Rust, at every door. Its README says what a step means.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod door;
mod run;
mod steps;
mod values;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use door::{DOORS, Door};
use run::{check, run};

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for scenario in load("") {
        let name = scenario["name"].as_str().unwrap();
        for kind in DOORS {
            let (name, scenario) = (format!("{name}, {kind}"), scenario.clone());
            let is_left_out = leaves_out(&scenario, kind);
            let trial = Trial::test(name, move || Ok(at_door(&scenario, kind)?));
            trials.push(trial.with_ignored_flag(is_left_out));
        }
    }
    for scenario in load("wrong") {
        let name = format!("it is found that {}", scenario["name"].as_str().unwrap());
        trials.push(Trial::test(name, move || match at_door(&scenario, "mem") {
            Ok(()) => Err(Failed::from("it passed")),
            Err(_) => Ok(()),
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn at_door(scenario: &Value, kind: &str) -> Result<(), String> {
    check(scenario)?;
    let mut door = Door::open(kind);
    run(scenario, &mut door)
}

/// Whether it is for other languages, or needs what this door does not give.
fn leaves_out(scenario: &Value, kind: &str) -> bool {
    let words = |field: &str| scenario.get(field).and_then(Value::as_array);
    let is_for_others = words("languages").is_some_and(|words| !words.contains(&"rust".into()));
    let gives = Door::gives(kind);
    let lacks = |need: &Value| !need.as_str().is_some_and(|need| gives.contains(&need));
    is_for_others || words("needs").is_some_and(|needs| needs.iter().any(lacks))
}

/// The scenarios of a folder below `examples/scenarios`, by file.
fn load(folder: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios");
    let entries = std::fs::read_dir(root.join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenarios in {folder}");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let scenarios: Vec<Value> = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        scenarios
    };
    paths.into_iter().flat_map(read).collect()
}
