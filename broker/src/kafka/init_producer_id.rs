//! InitProducerId: a producer id that nobody has had.
//!
//! An idempotent producer raises its epoch by itself (KIP-360) and comes back for a new id alone, whatever id it
//! names as its old one: so do Kafka's own brokers answer.

use bytes::Bytes;
use headwater::protocol::request::Request as NativeRequest;
use headwater::protocol::response::Response;
use headwater::service::Run;
use headwater::{Completion, ErrorCode};
use kafka_protocol::messages::{InitProducerIdResponse, ProducerId};

use super::answer::{Answer, Reply};
use super::api::Request;
use super::context::Context;
use super::error::{self, Failure};
use super::wire::Malformed;

pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
    let version = request.version;
    let fields = &mut request.fields;
    let is_transactional = fields.nullable_string("transactional_id")?.is_some();
    fields.i32("transaction_timeout_ms")?;
    if version >= 3 {
        fields.i64("producer_id")?;
        fields.i16("producer_epoch")?;
    }
    fields.end()?;
    if is_transactional {
        let failure = Failure::no_transactions();
        return Ok(Answer::now(&refused(failure.code), version));
    }
    let (completion, pending) = Completion::pair();
    let request = NativeRequest::InitProducer;
    context
        .session()
        .submit(request, Bytes::new(), Run::Prompt, completion);
    Ok(Answer::later(async move {
        let response = match pending.await {
            Ok(Response::Producer {
                producer_id,
                producer_epoch,
            }) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(producer_id))
                .with_producer_epoch(producer_epoch),
            Ok(_) => refused(error::number(ErrorCode::UnknownServerError)),
            Err(error) => refused(error::of(&error)),
        };
        Reply::of(&response, version)
    }))
}

fn refused(error_code: i16) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error_code)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
