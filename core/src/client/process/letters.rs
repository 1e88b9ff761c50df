//! Dead letters: what failed at every attempt goes to a topic, with headers that say where it comes from.
//!
//! | header | value, as text |
//! |---|---|
//! | `headwater.dlq.topic`, `.partition`, `.offset` | where the record lies |
//! | `headwater.dlq.attempts` | how often it was tried |
//! | `headwater.dlq.error` | why it failed last, cut to 4 KiB |
//!
//! Key, value and its own headers are the record's; the time is that of the letter.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::record::Owned;
use crate::client::options::ProducerOptions;
use crate::client::producer::{Delivery, Producer, Record};
use crate::completion::{NotifyQueue, Pending};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::DEAD_LETTER_ERROR_BYTES_MAX;
use crate::record::Header;

/// A letter that is to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// Its number in the scheduler.
    pub(super) record: u64,
    pub(super) attempts: u32,
    pub(super) error: String,
    pub(super) owned: Arc<Owned>,
}

/// See the module. As many letters wait as the scheduler has records for.
#[derive(Debug)]
pub(super) struct Letters {
    topic: String,
    producer: Producer,
    waiting: VecDeque<Letter>,
    sent: HashMap<u64, (Delivery, Arc<Owned>)>,
    room: Option<Pending<()>>,
}

impl Letters {
    /// # Errors
    /// `INVALID_OPTION` if the topic is one of those that are processed.
    pub(super) fn new(
        client: &Arc<crate::client::handle::Shared>,
        topic: &str,
        processed: &[String],
    ) -> Result<Self> {
        if processed.iter().any(|processed| processed == topic) {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                format!(
                    "process option `dead_letter` is `{topic}`, which is processed itself: its letters \
                     would come back"
                ),
            ));
        }
        Ok(Self {
            topic: topic.to_owned(),
            producer: Producer::open(Arc::clone(client), &ProducerOptions::default())?,
            waiting: VecDeque::new(),
            sent: HashMap::new(),
            room: None,
        })
    }

    pub(super) fn add(&mut self, letter: Letter) {
        self.waiting.push_back(letter);
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits, as far as there is room; `queue` hears of every acknowledgement by the letter's
    /// number, and of room by `room_ticket`.
    ///
    /// # Errors
    /// Why a letter cannot be sent.
    pub(super) fn send(&mut self, queue: &Arc<NotifyQueue>, room_ticket: u64) -> Result<()> {
        while let Some(letter) = self.waiting.front() {
            let sent = self.send_one(letter);
            match sent {
                Ok(delivery) => {
                    delivery.notify(queue, letter.record);
                    let (record, owned) = (letter.record, Arc::clone(&letter.owned));
                    self.sent.insert(record, (delivery, owned));
                    self.waiting.pop_front();
                }
                Err(error) if error.code() == ErrorCode::BufferFull => {
                    let room = self.producer.ready();
                    room.notify(queue, room_ticket);
                    self.room = Some(room);
                    return Ok(());
                }
                Err(error) => return Err(self.not_sent(&letter.owned, &error)),
            }
        }
        Ok(())
    }

    /// What became of a letter: none while that is not known.
    pub(super) fn acknowledged(&mut self, record: u64) -> Option<Result<()>> {
        let (delivery, _) = self.sent.get(&record)?;
        let result = delivery.peek()?;
        let (_, owned) = self.sent.remove(&record)?;
        Some(match result {
            Ok(_) => Ok(()),
            Err(error) => Err(self.not_sent(&owned, &error)),
        })
    }

    fn send_one(&self, letter: &Letter) -> Result<Delivery> {
        let owned = &letter.owned;
        let [partition, offset, attempts] = [
            owned.partition.to_string(),
            owned.offset.to_string(),
            letter.attempts.to_string(),
        ];
        let mut headers = Vec::new();
        for header in owned.headers() {
            headers.push(header.map_err(|error| {
                let message = format!("the headers of a record cannot be read: {error}");
                Error::new(ErrorCode::CorruptMessage, message)
            })?);
        }
        let own = [
            ("headwater.dlq.topic", &*owned.topic),
            ("headwater.dlq.partition", &partition),
            ("headwater.dlq.offset", &offset),
            ("headwater.dlq.attempts", &attempts),
            ("headwater.dlq.error", cut(&letter.error)),
        ];
        headers.extend(own.map(|(key, value)| Header {
            key,
            value: Some(value.as_bytes()),
        }));
        let record = Record {
            partition: None,
            key: owned.key(),
            value: owned.value(),
            headers: &headers,
            timestamp_ms: None,
        };
        self.producer.try_send(&self.topic, &record)
    }

    fn not_sent(&self, owned: &Owned, error: &Error) -> Error {
        let Owned {
            topic,
            partition,
            offset,
            ..
        } = owned;
        Error::new(
            error.code(),
            format!(
                "offset {offset} of {topic}-{partition} failed at every attempt, and its dead letter could \
                 not be written to `{}`: {error}",
                self.topic
            ),
        )
        .with_outcome(error.outcome())
    }
}

/// As much of a text as a letter takes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(DEAD_LETTER_ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let text = "\u{e4}".repeat(DEAD_LETTER_ERROR_BYTES_MAX);
        let odd = format!("x{text}");
        assert_eq!(cut(&text).len(), DEAD_LETTER_ERROR_BYTES_MAX);
        assert_eq!(cut(&odd).len(), DEAD_LETTER_ERROR_BYTES_MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
