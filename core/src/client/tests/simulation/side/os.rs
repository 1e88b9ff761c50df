//! What may be lost that was acknowledged at `os`, and who is told.

use super::super::history::End;
use super::ledger::State;

impl State {
    /// Records that were acknowledged at `os`, are not there, and could be lost: whether they were the last that there
    /// was in the log, and whether their producer was told before it wrote on in their place.
    pub(super) fn check_lost(&self, lost: &[u64], is_there: impl Fn(u64) -> bool) -> Vec<String> {
        let mut failures = Vec::new();
        for number in lost {
            let gone = &self.sent[*number as usize];
            let Some((ended, End::Acknowledged(offset))) = gone.end.map(|it| (it, it.end)) else {
                continue;
            };
            // What was sent when it was there, and was there before the power could be cut, is behind it in the one log.
            let later = (0..).zip(&self.sent).find(|(other, it)| {
                let end = it.end.filter(|it| matches!(it.end, End::Acknowledged(_)));
                let is_with_it = end.is_some_and(|it| it.at.cuts == gone.invoked.cuts);
                is_with_it && it.invoked.tick > ended.at.tick && is_there(*other)
            });
            if let Some((later, _)) = later {
                failures.push(format!(
                    "record {number} is lost, and record {later}, which came after it, is there"
                ));
            }
            let behind = (0_u64..).zip(&self.sent).skip(*number as usize + 1);
            let behind = behind.filter(|(_, it)| it.partition == gone.partition);
            let ends = behind.filter_map(|(number, it)| Some((number, it.end?)));
            let instead = ends
                .clone()
                .find(|(_, it)| matches!(it.end, End::Acknowledged(other) if other <= offset));
            let mut before = ends.take_while(|(other, _)| Some(*other) != instead.map(|it| it.0));
            if let Some((instead, _)) = instead
                && !before.any(|(_, it)| it.is_truncated)
            {
                failures.push(format!(
                    "record {number} was acknowledged at {offset} and is lost, record {instead} was written after it, \
                     and their producer was not told"
                ));
            }
        }
        failures
    }
}
