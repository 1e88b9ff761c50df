//! A client's connection: requests as `kafka-protocol` writes them, answers as it reads them.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use headwater::testing::simulation::{Reader, Stage, Writer};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use uuid::Uuid;

use crate::kafka::tests::{Client, topic_name};

/// See the module.
pub(super) struct Line {
    reader: Reader,
    writer: Writer,
    buffer: BytesMut,
    next_id: i32,
    /// What a request and its answer may take.
    within: Duration,
}

/// A topic as the metadata tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) id: Uuid,
    pub(super) leader_epoch: i32,
}

impl Line {
    /// Connects, and asks what is spoken; none if that is not to be had in time.
    pub(super) async fn open(stage: &Stage, client: usize, within: Duration) -> Option<Self> {
        let (reader, writer) = timeout(within, stage.dial(client)).await.ok()?.ok()?;
        let mut line = Self {
            reader,
            writer,
            buffer: BytesMut::new(),
            next_id: 0,
            within,
        };
        let version = stage.among(&[0, 2, 3, 4]);
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = StrBytes::from_static_str("simulated");
            request.client_software_version = StrBytes::from_static_str("1.0");
        }
        let answer: ApiVersionsResponse = line.ask(18, version, &request).await.ok()?;
        if answer.error_code != 0 || answer.api_keys.is_empty() {
            stage
                .history()
                .fail(format!("versions are not told: {answer:?}"));
        }
        Some(line)
    }

    /// Asks where the topic is; none if it is not to be had.
    pub(super) async fn metadata(&mut self, stage: &Stage) -> Option<Told> {
        let version = stage.among(&[10, 12, 13]);
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(stage.topic())));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![wanted]))
            .with_allow_auto_topic_creation(false);
        let answer: MetadataResponse = self.ask(3, version, &request).await.ok()?;
        let topic = answer.topics.first()?;
        if topic.error_code != 0 || topic.partitions.len() != stage.partitions() as usize {
            let history = stage.history();
            history.fail(format!("the topic is not as it was: {topic:?}"));
            return None;
        }
        Some(Told {
            id: topic.topic_id,
            leader_epoch: topic.partitions.first()?.leader_epoch,
        })
    }

    /// Sends a request without waiting for its answer; its correlation id.
    ///
    /// # Errors
    /// The connection's, or that it takes nothing in time.
    pub(super) async fn send<Q>(&mut self, key: i16, version: i16, message: &Q) -> io::Result<i32>
    where
        Q: Encodable + HeaderVersion,
    {
        self.next_id += 1;
        let frame = Client::frame(key, version, self.next_id, message);
        timeout(self.within, self.writer.write_all(&frame)).await??;
        Ok(self.next_id)
    }

    /// The next answer and its correlation id, in front of its body. To be cancelled at any time.
    ///
    /// # Errors
    /// The connection's, and its end.
    pub(super) async fn receive<A>(&mut self, version: i16) -> io::Result<(i32, A)>
    where
        A: Decodable + HeaderVersion,
    {
        let mut frame = self.frame().await?;
        let header = ResponseHeader::decode(&mut frame, A::header_version(version));
        let id = header.map_err(io::Error::other)?.correlation_id;
        let answer = A::decode(&mut frame, version).map_err(io::Error::other)?;
        assert!(!frame.has_remaining(), "{} bytes too many", frame.len());
        Ok((id, answer))
    }

    /// Asks, with nothing else on its way, and waits for the answer.
    ///
    /// # Errors
    /// The connection's, or that there is no answer in time.
    pub(super) async fn ask<Q, A>(&mut self, key: i16, version: i16, request: &Q) -> io::Result<A>
    where
        Q: Encodable + HeaderVersion,
        A: Decodable + HeaderVersion,
    {
        let within = self.within;
        self.ask_within(key, version, request, within).await
    }

    /// The same for what may take longer.
    pub(super) async fn ask_within<Q, A>(
        &mut self,
        key: i16,
        version: i16,
        request: &Q,
        within: Duration,
    ) -> io::Result<A>
    where
        Q: Encodable + HeaderVersion,
        A: Decodable + HeaderVersion,
    {
        let asked = self.send(key, version, request).await?;
        let (id, answer) = timeout(within, self.receive(version)).await??;
        assert_eq!(id, asked, "an answer to another request");
        Ok(answer)
    }

    async fn frame(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*head)).expect("a length");
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    return Ok(self.buffer.split_to(length).freeze());
                }
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
