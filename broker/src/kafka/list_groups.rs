//! ListGroups: all groups, or those in some states and of some types.

use headwater::engine::group::GroupState;
use headwater::service::GroupSummary;
use kafka_protocol::messages::ListGroupsResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;

use super::answer::Answer;
use super::api::Request;
use super::context::Context;
use super::describe_groups::CONSUMER;
use super::groups::{group_id, state_name, text};
use super::wire::Malformed;

/// Groups in which members share out partitions among themselves, and those without members.
const CLASSIC: &str = "classic";

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let (mut states, mut types) = (Vec::new(), Vec::new());
    if version >= 4 {
        states = fields.array("states_filter", |fields| fields.string("state"))?;
    }
    if version >= 5 {
        types = fields.array("types_filter", |fields| fields.string("type"))?;
    }
    fields.end()?;
    let groups = context.service().groups();
    let wanted = groups
        .iter()
        .filter(|group| is_named(&states, state_of(group)) && is_named(&types, type_of(group)));
    let listed = wanted.map(|group| {
        let protocol_type = if group.is_native {
            CONSUMER
        } else {
            &group.protocol_type
        };
        let mut listed = ListedGroup::default()
            .with_group_id(group_id(&group.group))
            .with_protocol_type(text(protocol_type));
        if version >= 4 {
            listed.group_state = text(state_of(group));
        }
        if version >= 5 {
            listed.group_type = text(type_of(group));
        }
        listed
    });
    let response = ListGroupsResponse::default().with_groups(listed.collect());
    Ok(Answer::now(&response, version))
}

/// Whether a filter has this; without names it has all. Letters are as they come.
fn is_named(filter: &[&str], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|it| it.eq_ignore_ascii_case(name))
}

fn type_of(group: &GroupSummary) -> &'static str {
    if group.is_native { CONSUMER } else { CLASSIC }
}

/// Only of groups in which the server assigns there is a word for partitions that move.
fn state_of(group: &GroupSummary) -> &'static str {
    match group.state {
        GroupState::Reconciling => "Reconciling",
        state => state_name(state),
    }
}
