//! The lines of the log that a test has to look at.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::sync::Mutex;

/// Collects lines, each behind the spans that it stands in.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Collected>>);

impl Collector {
    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().lines)
    }
}

#[derive(Default)]
struct Collected {
    spans: HashMap<u64, String>,
    entered: Vec<u64>,
    lines: Vec<String>,
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut collected = self.0.lock();
        let mut said = span.metadata().name().to_owned();
        span.record(&mut Fields(&mut said));
        let id = collected.spans.len() as u64 + 1;
        collected.spans.insert(id, said);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(said) = self.0.lock().spans.get_mut(&span.into_u64()) {
            values.record(&mut Fields(said));
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut collected = self.0.lock();
        let spans = collected.entered.iter();
        let spans = spans.map(|id| collected.spans[id].as_str());
        let mut line = spans.collect::<Vec<_>>().join(" ");
        event.record(&mut Fields(&mut line));
        collected.lines.push(line);
    }

    fn enter(&self, span: &Id) {
        self.0.lock().entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut collected = self.0.lock();
        let place = collected
            .entered
            .iter()
            .rposition(|id| *id == span.into_u64());
        collected.entered.remove(place.unwrap());
    }
}
