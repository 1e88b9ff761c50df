//! Which protocol a generation uses: one that every member has, and that most like best.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Protocol;

/// The protocol of members with these lists; none if there is none that all have.
pub(super) fn select<'a>(lists: impl Iterator<Item = &'a [Protocol]>) -> Option<Arc<str>> {
    let lists: Vec<_> = lists.collect();
    let has = |list: &[Protocol], name: &str| list.iter().any(|it| &*it.name == name);
    let first = lists.first()?;
    let common = first.iter().map(|protocol| &protocol.name);
    let common: Vec<_> = common
        .filter(|name| lists.iter().all(|list| has(list, name)))
        .collect();
    let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for list in &lists {
        let mut names = list.iter().map(|protocol| &protocol.name);
        if let Some(best) = names.find(|name| common.contains(name)) {
            *votes.entry(best).or_default() += 1;
        }
    }
    // Of those with as many votes the first by name: the same whoever comes first.
    let most = votes.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map(|(name, _)| Arc::clone(name))
}
