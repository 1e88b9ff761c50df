//! `headwater kafka-compat`: which APIs of Kafka's protocol the port speaks, and in which versions.

use headwater::Error;
use serde_json::json;

use super::{Ended, Io};
use crate::kafka::spoken;

pub(super) fn run(io: &mut Io) -> Result<Ended, Error> {
    if !io.is_json() {
        io.line("API                          KEY  VERSIONS")?;
    }
    for (name, key, versions) in spoken() {
        let (first, last) = (versions.start(), versions.end());
        if io.is_json() {
            let api = json!({
                "api": name,
                "key": key,
                "min_version": first,
                "max_version": last,
            });
            io.json(&api)?;
        } else {
            io.line(&format!("{name:<28} {key:>3}  {first}-{last}"))?;
        }
    }
    Ok(Ended::Done)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HEAD: &str = "| API | key | versions |\n|---|---|---|\n";

    /// `HEADWATER_BLESS=1` writes the table into the documentation.
    #[test]
    fn the_table_of_the_documentation_is_what_is_spoken() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(HEAD).expect("the table's head");
        let end = rest.find("\n\n").expect("the table's end") + 1;
        let (documented, after) = rest.split_at(end);
        let rows = spoken().map(|(name, key, versions)| {
            format!(
                "| {name} | {key} | {}-{} |\n",
                versions.start(),
                versions.end()
            )
        });
        let spoken = rows.collect::<String>();
        if documented != spoken && std::env::var_os("HEADWATER_BLESS").is_some() {
            std::fs::write(&path, [before, HEAD, &spoken, after].concat()).unwrap();
            return;
        }
        assert_eq!(documented, spoken);
    }
}
