//! Writes the seeds of a target into a folder, for the fuzzer to start from: `seeds TARGET FOLDER`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, folder] = &arguments[..] else {
        return Err(std::io::Error::other("usage: seeds TARGET FOLDER"));
    };
    let target = headwater::fuzzing::TARGETS
        .iter()
        .find(|target| target.name == name);
    let target = target.ok_or_else(|| std::io::Error::other(format!("no target `{name}`")))?;
    std::fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(Path::new(folder).join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
