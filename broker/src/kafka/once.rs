//! What a request may name once only.

use std::collections::HashMap;
use std::hash::Hash;

use super::error::{Failure, code};

/// Does `work` for each, in order; those whose key comes more than once are refused, all of them, as at Kafka's
/// brokers.
pub(super) fn each_once<T, K: Clone + Eq + Hash, R>(
    wanted: &[T],
    key: impl Fn(&T) -> &K,
    work: impl Fn(&T) -> Result<R, Failure>,
) -> Vec<(K, Result<R, Failure>)> {
    let mut times = HashMap::<&K, usize>::new();
    for one in wanted {
        *times.entry(key(one)).or_default() += 1;
    }
    let done = wanted.iter().map(|one| {
        let is_again = times.get(key(one)).is_some_and(|times| *times > 1);
        let done = if is_again {
            Err(Failure::new(code::INVALID_REQUEST, "it is named twice"))
        } else {
            work(one)
        };
        (key(one).clone(), done)
    });
    done.collect()
}
