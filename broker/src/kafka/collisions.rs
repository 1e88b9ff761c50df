//! Topics whose names differ in nothing but `.` and `_`. Both are the same in the names that Kafka's metrics have, so
//! Kafka refuses the second of them, and its clients are refused it here too. Who speaks our protocol has no such
//! metrics, and may create it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use headwater::{Error, ErrorCode};

use super::context::Context;

/// The topics that some names could collide with, by what all names of them have in common. Two of each are enough: a
/// name differs from one of them.
#[derive(Debug)]
pub(super) struct Collisions(HashMap<String, Vec<Arc<str>>>);

impl Collisions {
    /// With these names. All topics are looked at once, however many names there are.
    pub(super) fn with<'a>(context: &Context, names: impl Iterator<Item = &'a str>) -> Self {
        let wanted: HashSet<_> = names
            .filter(|name| may_collide(name))
            .map(unified)
            .collect();
        let mut found = HashMap::<_, Vec<_>>::new();
        if wanted.is_empty() {
            return Self(found);
        }
        for topic in context.service().topics() {
            if !may_collide(&topic.name) {
                continue;
            }
            let unified = unified(&topic.name);
            if wanted.contains(&unified) {
                let alike = found.entry(unified).or_default();
                if alike.len() < 2 {
                    alike.push(topic.name);
                }
            }
        }
        Self(found)
    }

    /// Whether a topic of this name would collide with none.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION`, which names the other.
    pub(super) fn check(&self, name: &str) -> Result<(), Error> {
        let alike = self.0.get(&unified(name));
        let other = alike.and_then(|alike| alike.iter().find(|other| ***other != *name));
        other.map_or(Ok(()), |other| {
            Err(Error::new(
                ErrorCode::InvalidTopic,
                format!(
                    "topic `{name}` differs from topic `{other}` in nothing but `.` and `_`, which are the same in the \
                     names of Kafka's metrics"
                ),
            ))
        })
    }
}

fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn unified(name: &str) -> String {
    name.replace('.', "_")
}
