//! Static members: who has a name, and who has lost it to another.

use std::collections::{BTreeMap, BTreeSet};

use super::State;

/// The members that had a name.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// The last that was told to be a member.
    current: String,
    /// Those before: what they say counts no more.
    fenced: BTreeSet<String>,
}

/// By group and instance.
pub(super) type Names = BTreeMap<(&'static str, String), Named>;

impl State {
    /// Whether this member has lost its name to another.
    pub(super) fn is_fenced(&self, group: &str, member: &str) -> bool {
        let mut named = self.names.iter().filter(|((of, _), _)| *of == group);
        named.any(|(_, named)| named.fenced.contains(member))
    }

    /// A member was told that it is one, under this name; with whether it had lost the name when it asked.
    pub(super) fn told(
        &mut self,
        group: &'static str,
        instance: &str,
        member: &str,
        was_fenced: bool,
    ) {
        let key = (group, instance.to_owned());
        let named = self.names.entry(key).or_default();
        // What was said before another took the name may be told late. A broker that has started since, though, knows
        // nothing of it, and may give it back.
        if named.current == member || (named.fenced.contains(member) && !was_fenced) {
            return;
        }
        named.fenced.remove(member);
        let before = std::mem::replace(&mut named.current, member.to_owned());
        if !before.is_empty() {
            named.fenced.insert(before);
        }
    }
}
