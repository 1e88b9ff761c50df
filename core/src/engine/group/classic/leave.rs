//! Leaving, one or many at once, and being removed by somebody else.

use super::group::Group;
use super::{Leave, Leaver, Turn, errors};
use crate::engine::group::MemberId;
use crate::error::Result;

impl Group {
    pub(super) fn leave(&mut self, leave: &Leave, turn: &mut Turn<'_>) -> Vec<Result<()>> {
        let members = leave.members.iter();
        let left = members.map(|leaver| self.leave_one(leaver, turn)).collect();
        self.settle(turn);
        left
    }

    fn leave_one(&mut self, leaver: &Leaver, turn: &mut Turn<'_>) -> Result<()> {
        let mut id = MemberId::from(leaver.member_id.as_str());
        if let Some(instance) = &leaver.instance_id {
            match self.instances.get(instance) {
                // Whoever removes a static member does not need to know its id.
                Some(holder) if id.is_empty() => id = MemberId::clone(holder),
                Some(holder) if *holder != id => {
                    return Err(errors::fenced(&self.id, instance, &id, holder));
                }
                Some(_) => {}
                None if self.is_missing(&id) => {}
                None => return Err(errors::unknown_member(&self.id, &id)),
            }
        }
        if self.promised.remove(&id).is_some() || self.no_more_missing(&id) {
            return Ok(());
        }
        let why = errors::unknown_member(&self.id, &id);
        if !self.members.contains_key(&id) {
            return Err(why);
        }
        self.remove(&id, &why, turn);
        Ok(())
    }
}
