//! One scenario on its way: its handles by name, its variables, and what stands beside a step.

use std::collections::HashMap;
use std::time::Duration;

use headwater::record::block::BlockView;
use headwater::{Block, Client, Consumer, Error, Producer, ProducerOptions};
use serde_json::{Map, Value, json};

use crate::door::Door;
use crate::steps::call;
use crate::values::{Fields, differs, error, message};

/// Ends what would wait for ever; then the scenario fails by what it did not get.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a step ends that does not give what was asked for.
pub(crate) enum Stop {
    /// What Headwater says.
    Error(Error),
    /// What a handler says.
    Handler(String),
    /// The scenario itself is wrong.
    Fault(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<String> for Stop {
    fn from(fault: String) -> Self {
        Self::Fault(fault)
    }
}

/// What a scenario may say about itself.
pub(crate) fn check(scenario: &Value) -> Result<(), String> {
    let mut fields = Fields::of(scenario)?;
    fields.text("name")?;
    fields.list("steps")?;
    let words = |list: Option<Value>, known: &[&str]| {
        let list = list.unwrap_or_else(|| json!([]));
        let words = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let unknown = words
            .iter()
            .find(|word| !known.iter().any(|it| *word == it));
        unknown.map_or(Ok(words.len()), |word| Err(format!("unknown: {word}")))
    };
    words(fields.take("needs"), &["durable", "broker"])?;
    let known = ["rust", "python", "aio", "node", "kotlin", "swift"];
    let is_for_some = words(fields.take("languages"), &known)? > 0;
    if is_for_some != fields.take("because").is_some() {
        return Err("languages and because go together".to_owned());
    }
    fields.end()
}

/// Runs every step; the error says which one went wrong.
pub(crate) fn run(scenario: &Value, door: &mut Door) -> Result<(), String> {
    let mut run = Run::open(door).map_err(|error| error.to_string())?;
    let steps = scenario["steps"].as_array().unwrap();
    for (index, step) in steps.iter().enumerate() {
        run.step(step)
            .map_err(|wrong| format!("step {}, {step}: {wrong}", index + 1))?;
    }
    run.db.close(None).wait(None).map_err(|it| it.to_string())?;
    Ok(())
}

pub(crate) struct Run<'a> {
    pub(crate) db: Client,
    pub(crate) door: &'a mut Door,
    variables: Map<String, Value>,
    producers: HashMap<String, Producer>,
    consumers: HashMap<String, Reading>,
}

impl<'a> Run<'a> {
    fn open(door: &'a mut Door) -> headwater::Result<Self> {
        let nowhere = door.nowhere();
        Ok(Self {
            db: headwater::connect(&door.address).wait(None)?,
            door,
            variables: Map::from_iter([("nowhere".to_owned(), nowhere.into())]),
            producers: HashMap::new(),
            consumers: HashMap::new(),
        })
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        let mut beside = Fields::of(step)?;
        let (gives, fails) = (beside.take("gives"), beside.take("fails"));
        let keep = beside.take("keep");
        let is_eventual = beside.take("eventually").is_some_and(|it| it == true);
        let mut calls = beside.left();
        let (name, fields) = calls.pop().ok_or("a step has a name")?;
        if let Some((other, _)) = calls.first() {
            return Err(format!("`{other}` and `{name}` in one step"));
        }
        let wanted = gives.map(|gives| self.resolved(&gives)).transpose()?;
        let deadline = std::time::Instant::now() + PATIENCE;
        let found = loop {
            let fields = Fields::of(&self.resolved(&fields)?)?;
            let found = called(call(self, &name, fields), fails.as_ref())?;
            let Some(wanted) = &wanted else { break found };
            match differs(wanted, &found, "it") {
                Ok(()) => break found,
                Err(_) if is_eventual && std::time::Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(difference) => return Err(format!("{difference}; all of it: {found}")),
            }
        };
        if let Some(Value::Object(keep)) = keep {
            for (variable, field) in keep {
                let field = field.as_str().unwrap_or_default();
                self.variables.insert(variable, found[field].clone());
            }
        }
        Ok(())
    }

    /// Variables and repetitions put in.
    fn resolved(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match text.strip_prefix('$') {
                None => value.clone(),
                Some(name) => {
                    let kept = self.variables.get(name);
                    kept.cloned()
                        .ok_or_else(|| format!("nothing was kept as {text}"))?
                }
            },
            Value::Array(list) => list
                .iter()
                .map(|item| self.resolved(item))
                .collect::<Result<_, _>>()?,
            Value::Object(map) => match (map.get("repeat"), map.get("times")) {
                (Some(Value::String(text)), Some(times)) => {
                    let times = times.as_u64().ok_or("times is no whole number")?;
                    text.repeat(usize::try_from(times).map_err(|it| it.to_string())?)
                        .into()
                }
                _ => {
                    let items = map.iter();
                    let resolved = items.map(|(key, item)| Ok((key.clone(), self.resolved(item)?)));
                    Value::Object(resolved.collect::<Result<_, String>>()?)
                }
            },
            other => other.clone(),
        })
    }

    /// Closes the client, and connects again. Handles are gone.
    pub(crate) fn reconnect(&mut self) -> Result<(), Stop> {
        self.db.close(None).wait(None)?;
        self.producers.clear();
        self.consumers.clear();
        self.db = headwater::connect(&self.door.address).wait(None)?;
        Ok(())
    }

    pub(crate) fn add_producer(&mut self, name: String, producer: Producer) {
        self.producers.insert(name, producer);
    }

    /// A producer by name; the one without is made when it is first used.
    pub(crate) fn producer(&mut self, name: &str) -> Result<&Producer, Stop> {
        if name == "producer" && !self.producers.contains_key(name) {
            let producer = self.db.producer(ProducerOptions::default())?;
            self.producers.insert(name.to_owned(), producer);
        }
        let found = self.producers.get(name);
        found.ok_or_else(|| Stop::Fault(format!("there is no producer `{name}`")))
    }

    pub(crate) fn add_consumer(&mut self, name: String, consumer: Consumer) {
        self.consumers.insert(name, Reading::of(consumer));
    }

    pub(crate) fn reading(&mut self, name: &str) -> Result<&mut Reading, Stop> {
        let found = self.consumers.get_mut(name);
        found.ok_or_else(|| Stop::Fault(format!("there is no consumer `{name}`")))
    }
}

/// What a call gave, if it ended as it was to.
fn called(ended: Result<Value, Stop>, fails: Option<&Value>) -> Result<Value, String> {
    let (told, fails) = match (ended, fails) {
        (Ok(found), None) => return Ok(found),
        (Ok(found), Some(_)) => return Err(format!("it gave {found} and was to fail")),
        (Err(Stop::Fault(fault)), _) => return Err(fault),
        (Err(Stop::Error(failure)), None) => return Err(format!("{failure:?}")),
        (Err(Stop::Handler(refused)), None) => return Err(refused),
        (Err(Stop::Error(failure)), Some(fails)) => (error(&failure), fails),
        (Err(Stop::Handler(refused)), Some(fails)) => (json!({"handler": refused}), fails),
    };
    let mut wanted = fails.clone();
    if let Some(map) = wanted.as_object_mut()
        && let Some(said) = map.remove("says")
    {
        map.insert("message".to_owned(), json!({"says": said}));
    }
    differs(&wanted, &told, "it").map_err(|wrong| format!("{wrong}; the error is {told}"))?;
    Ok(Value::Null)
}

/// A consumer as a loop over single records reads it: a record is passed when the next is asked for.
pub(crate) struct Reading {
    pub(crate) consumer: Consumer,
    block: Option<Block>,
    given: u32,
}

impl Reading {
    fn of(consumer: Consumer) -> Self {
        Self {
            consumer,
            block: None,
            given: 0,
        }
    }

    /// The next record, none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, Stop> {
        loop {
            if let Some(block) = &self.block {
                let view = BlockView::parse(block.bytes()).map_err(|it| it.to_string())?;
                let _ = self.consumer.progress(self.given);
                if let Some(record) = view.record(self.given as usize) {
                    self.given += 1;
                    return Ok(Some(message(&record)));
                }
            }
            self.leave();
            self.block = self.consumer.next_block_wait(Some(PATIENCE))?;
            if self.block.is_none() {
                return Ok(None);
            }
        }
    }

    /// What is left of the block is of no more use.
    pub(crate) fn leave(&mut self) {
        self.block = None;
        self.given = 0;
    }
}
