//! Driver of rskafka: a request a line in, an answer a line out. It has partitions, offsets and topics, and no groups.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

const IDLE: Duration = Duration::from_millis(1_500);
const WAIT: Duration = Duration::from_secs(25);

enum Failed {
    NotPossible(&'static str),
    Kafka(Error),
    Other(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Kafka(error)
    }
}

type Answer = Result<Value, Failed>;

/// A reader of some partitions; what it has fetched beyond what was asked for waits in `left`.
struct Reader {
    next: BTreeMap<(String, i32), i64>,
    max_wait_ms: i32,
    max_bytes: i32,
    from_earliest: bool,
    left: Vec<Value>,
}

struct Driver {
    client: Client,
    readers: Mutex<HashMap<String, Arc<Mutex<Reader>>>>,
}

#[tokio::main]
async fn main() {
    let broker = std::env::args().nth(1).expect("HOST:PORT");
    let client = ClientBuilder::new(vec![broker])
        .max_message_size(64 << 20)
        .build()
        .await
        .expect("the broker answers");
    let driver = Arc::new(Driver {
        client,
        readers: Mutex::default(),
    });
    let output = Arc::new(Mutex::new(tokio::io::stdout()));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: Value = serde_json::from_str(&line).expect("a request");
        let (driver, output) = (Arc::clone(&driver), Arc::clone(&output));
        tokio::spawn(async move {
            let step = request["step"].as_str().unwrap_or_default();
            let mut answer = match driver.step(step, &request["fields"]).await {
                Ok(gives) => json!({ "gives": gives }),
                Err(Failed::NotPossible(why)) => json!({ "not_possible": why }),
                Err(Failed::Other(says)) => json!({ "fails": { "code": null, "says": says } }),
                Err(Failed::Kafka(error)) => {
                    json!({ "fails": { "code": code_of(&error), "says": error.to_string() } })
                }
            };
            answer["id"] = request["id"].clone();
            let mut output = output.lock().await;
            output
                .write_all(format!("{answer}\n").as_bytes())
                .await
                .expect("a pipe");
            output.flush().await.expect("a pipe");
        });
    }
}

/// Kafka's number; the client's own names for what these scenarios ask.
fn code_of(error: &Error) -> Option<i16> {
    let Error::ServerError { protocol_error, .. } = error else {
        eprintln!("{error:?}");
        return None;
    };
    Some(match protocol_error {
        ProtocolError::OffsetOutOfRange => 1,
        ProtocolError::UnknownTopicOrPartition => 3,
        ProtocolError::MessageTooLarge => 10,
        ProtocolError::InvalidTopicException => 17,
        ProtocolError::TopicAlreadyExists => 36,
        ProtocolError::InvalidPartitions => 37,
        ProtocolError::InvalidReplicationFactor => 38,
        other => {
            eprintln!("{other:?}");
            return None;
        }
    })
}

impl Driver {
    async fn step(&self, step: &str, fields: &Value) -> Answer {
        let topic = fields["topic"].as_str().unwrap_or_default();
        match step {
            "produce" => self.produce(topic, fields).await,
            "consumer" => self.consumer(fields).await,
            "consume" => self.consume(fields).await,
            "seek" => self.seek(topic, fields).await,
            "close" | "reset" => {
                self.readers.lock().await.clear();
                Ok(Value::Null)
            }
            "create_topic" => self.create_topic(topic, fields).await,
            "delete_topic" => {
                self.client
                    .controller_client()?
                    .delete_topic(topic, 10_000)
                    .await?;
                Ok(Value::Null)
            }
            "list_topics" => {
                let found = self.client.list_topics().await?;
                Ok(found.into_iter().map(|one| json!(one.name)).collect())
            }
            "list_offsets" => {
                let partition = fields["partition"].as_i64().unwrap_or_default() as i32;
                self.offset_at(topic, partition, &fields["at"])
                    .await
                    .map(Value::from)
            }
            "delete_records" => self.delete_records(&fields["before"]).await,
            "describe_topic" | "add_partitions" | "topic_config" | "alter_topic_config"
            | "describe_cluster" => Err(Failed::NotPossible("no such call")),
            _ => Err(Failed::NotPossible("no groups")),
        }
    }

    /// A new one each time: it holds the leader it has found, and topics come and go here.
    async fn partition(&self, topic: &str, partition: i32) -> Result<PartitionClient, Failed> {
        Ok(self
            .client
            .partition_client(topic, partition, UnknownTopicHandling::Retry)
            .await?)
    }

    async fn produce(&self, topic: &str, fields: &Value) -> Answer {
        if fields["acks"].is_string() && fields["acks"] != "all" {
            return Err(Failed::NotPossible("acknowledged by all, always"));
        }
        if fields["idempotent"] == true {
            return Err(Failed::NotPossible("no idempotent producer"));
        }
        let compression = match fields["compression"].as_str() {
            Some("gzip") => Compression::Gzip,
            Some("snappy") => Compression::Snappy,
            Some("lz4") => Compression::Lz4,
            Some("zstd") => Compression::Zstd,
            _ => Compression::NoCompression,
        };
        let mut parts: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        let mut places = Vec::new();
        let partitions = self.partitions_of(topic).await?;
        for one in fields["records"].as_array().into_iter().flatten() {
            let partition = match one["partition"].as_i64() {
                Some(partition) => partition as i32,
                None => partition_of(&one["key"], partitions),
            };
            let records = parts.entry(partition).or_default();
            places.push((partition, records.len()));
            records.push(record_of(one)?);
        }
        let mut offsets = HashMap::new();
        for (partition, records) in parts {
            let client = self.partition(topic, partition).await?;
            offsets.insert(partition, client.produce(records, compression).await?);
        }
        let gives = places.into_iter().map(|(partition, i)| {
            json!({ "topic": topic, "partition": partition, "offset": offsets[&partition][i] })
        });
        Ok(gives.collect())
    }

    async fn partitions_of(&self, topic: &str) -> Result<i32, Failed> {
        let found = self.client.list_topics().await?;
        let one = found.into_iter().find(|one| one.name == topic);
        Ok(one.map_or(1, |one| one.partitions.len() as i32))
    }

    async fn consumer(&self, fields: &Value) -> Answer {
        if fields["group"].is_string() {
            return Err(Failed::NotPossible("no groups"));
        }
        let mut next = BTreeMap::new();
        for one in fields["assign"].as_array().into_iter().flatten() {
            let at = (text(&one[0]), one[1].as_i64().unwrap_or_default() as i32);
            next.insert(at, one[2].as_i64().unwrap_or_default());
        }
        for topic in fields["topics"].as_array().into_iter().flatten() {
            for partition in 0..self.partitions_of(&text(topic)).await? {
                next.insert((text(topic), partition), 0);
            }
        }
        let reader = Reader {
            next,
            max_wait_ms: fields["max_wait_ms"].as_i64().unwrap_or(200) as i32,
            max_bytes: fields["max_bytes"].as_i64().unwrap_or(1 << 20) as i32,
            from_earliest: fields["start"].as_str().unwrap_or("earliest") == "earliest",
            left: Vec::new(),
        };
        let name = fields["as"].as_str().unwrap_or("consumer").to_owned();
        self.readers
            .lock()
            .await
            .insert(name, Arc::new(Mutex::new(reader)));
        Ok(Value::Null)
    }

    async fn reader(&self, fields: &Value) -> Result<Arc<Mutex<Reader>>, Failed> {
        let name = fields["consumer"].as_str().unwrap_or("consumer");
        let readers = self.readers.lock().await;
        readers
            .get(name)
            .cloned()
            .ok_or_else(|| Failed::Other(format!("no consumer {name}")))
    }

    async fn consume(&self, fields: &Value) -> Answer {
        let reader = self.reader(fields).await?;
        let reader = &mut *reader.lock().await;
        let count = fields["count"]
            .as_u64()
            .map_or(usize::MAX, |count| count as usize);
        let wait = fields["wait_ms"].as_u64().map(Duration::from_millis);
        let wait = wait.unwrap_or(if count == usize::MAX { IDLE } else { WAIT });
        let mut deadline = Instant::now() + wait;
        let mut out = std::mem::take(&mut reader.left);
        while out.len() < count && Instant::now() < deadline {
            let before = out.len();
            let places: Vec<_> = reader.next.keys().cloned().collect();
            // One partition may wait; with several, none is to keep the others waiting.
            let wait_ms = if places.len() == 1 {
                reader.max_wait_ms
            } else {
                20
            };
            for (topic, partition) in places {
                let client = self.partition(&topic, partition).await?;
                let offset = reader.next[&(topic.clone(), partition)];
                let found = client
                    .fetch_records(offset, 1..reader.max_bytes.max(2), wait_ms)
                    .await;
                let records = match found {
                    Ok((records, _)) => records,
                    Err(Error::ServerError {
                        protocol_error: ProtocolError::OffsetOutOfRange,
                        ..
                    }) if reader.from_earliest => {
                        let first = client.get_offset(OffsetAt::Earliest).await?;
                        reader.next.insert((topic, partition), first);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                for one in records {
                    reader
                        .next
                        .insert((topic.clone(), partition), one.offset + 1);
                    out.push(json!({
                        "topic": topic,
                        "partition": partition,
                        "offset": one.offset,
                        "timestamp": one.record.timestamp.timestamp_millis(),
                        "key": encoded(one.record.key.as_deref()),
                        "value": encoded(one.record.value.as_deref()),
                        "headers": one.record.headers.iter()
                            .map(|(name, value)| json!([name, encoded(Some(value))]))
                            .collect::<Vec<_>>(),
                    }));
                }
            }
            if count == usize::MAX && out.len() > before {
                deadline = Instant::now() + wait;
            }
        }
        if out.len() > count {
            reader.left = out.split_off(count);
        }
        Ok(Value::Array(out))
    }

    async fn seek(&self, topic: &str, fields: &Value) -> Answer {
        let partition = fields["partition"].as_i64().unwrap_or_default() as i32;
        let to = &fields["to"];
        let offset = match to.as_i64() {
            Some(offset) => offset,
            None if to.is_object() => self.offset_at(topic, partition, &to["time"]).await?,
            None => self.offset_at(topic, partition, to).await?,
        };
        let reader = self.reader(fields).await?;
        let mut reader = reader.lock().await;
        reader.left.clear();
        reader.next.insert((topic.to_owned(), partition), offset);
        Ok(Value::Null)
    }

    async fn offset_at(&self, topic: &str, partition: i32, at: &Value) -> Result<i64, Failed> {
        let at = match at {
            Value::Number(time) => OffsetAt::Timestamp(time_of(time.as_i64().unwrap_or_default())?),
            Value::String(name) if name == "earliest" => OffsetAt::Earliest,
            _ => OffsetAt::Latest,
        };
        Ok(self
            .partition(topic, partition)
            .await?
            .get_offset(at)
            .await?)
    }

    async fn create_topic(&self, topic: &str, fields: &Value) -> Answer {
        if fields["config"]
            .as_object()
            .is_some_and(|config| !config.is_empty())
        {
            return Err(Failed::NotPossible("topics without configuration alone"));
        }
        let partitions = fields["partitions"].as_i64().unwrap_or(1) as i32;
        let replicas = fields["replication_factor"].as_i64().unwrap_or(1) as i16;
        self.client
            .controller_client()?
            .create_topic(topic, partitions, replicas, 10_000)
            .await?;
        Ok(Value::Null)
    }

    async fn delete_records(&self, before: &Value) -> Answer {
        let mut out = Vec::new();
        for one in before.as_array().into_iter().flatten() {
            let client = self
                .partition(&text(&one[0]), one[1].as_i64().unwrap_or_default() as i32)
                .await?;
            client
                .delete_records(one[2].as_i64().unwrap_or_default(), 10_000)
                .await?;
            out.push(client.get_offset(OffsetAt::Earliest).await?);
        }
        Ok(json!(out))
    }
}

/// Any fixed choice does: this client leaves it to who uses it.
fn partition_of(key: &Value, partitions: i32) -> i32 {
    let key = decoded(key).unwrap_or_default();
    let sum = key.iter().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    (sum % partitions.max(1) as u32) as i32
}

fn record_of(one: &Value) -> Result<Record, Failed> {
    let mut headers = BTreeMap::new();
    for header in one["headers"].as_array().into_iter().flatten() {
        let value =
            decoded(&header[1]).ok_or(Failed::NotPossible("a header's value cannot be null"))?;
        if headers.insert(text(&header[0]), value).is_some() {
            return Err(Failed::NotPossible("two headers of one name"));
        }
    }
    let timestamp = match one["timestamp"].as_i64() {
        Some(time) => time_of(time)?,
        None => Utc::now(),
    };
    Ok(Record {
        key: decoded(&one["key"]),
        value: decoded(&one["value"]),
        headers,
        timestamp,
    })
}

fn time_of(milliseconds: i64) -> Result<DateTime<Utc>, Failed> {
    DateTime::from_timestamp_millis(milliseconds)
        .ok_or_else(|| Failed::Other("not a time".to_owned()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    value
        .as_str()
        .map(|text| STANDARD.decode(text).expect("base64"))
}

fn encoded(data: Option<&[u8]>) -> Option<String> {
    data.map(|data| STANDARD.encode(data))
}
