//! DeleteGroups: groups without members are gone, with what they have committed.

use headwater::Completion;
use headwater::protocol::request::Request as NativeRequest;
use headwater::service::Run;
use kafka_protocol::messages::DeleteGroupsResponse;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error;
use super::groups::{code_of, group_id};
use super::wire::Malformed;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let groups = fields.array("groups_names", |fields| {
        fields.string("group_id").map(str::to_owned)
    })?;
    fields.end()?;
    let deletions = groups.into_iter().map(|group| {
        let (completion, pending) = Completion::pair();
        let delete = NativeRequest::DeleteGroup {
            group: group.clone(),
        };
        let session = context.session();
        session.submit(delete, bytes::Bytes::new(), Run::Prompt, completion);
        (group, pending)
    });
    let deletions: Vec<_> = deletions.collect();
    Ok(Answer::later(async move {
        let mut results = Vec::with_capacity(deletions.len());
        for (group, pending) in deletions {
            let error_code = match pending.await {
                Ok(_) => error::NONE,
                Err(error) => code_of(&error),
            };
            let result = DeletableGroupResult::default()
                .with_group_id(group_id(&group))
                .with_error_code(error_code);
            results.push(result);
        }
        let response = DeleteGroupsResponse::default().with_results(results);
        Reply::of(&response, version)
    }))
}
