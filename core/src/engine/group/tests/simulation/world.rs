//! The world of the simulation: the network, the log, and time.

use super::client::{ANSWER_MS, Client, Commit};
use super::*;

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A heartbeat arrives, if the broker that it was sent to still lives.
    Ask {
        broker: u32,
        heartbeat: Box<Heartbeat>,
    },
    Answer {
        broker: u32,
        ticket: u64,
        result: Result<Assigned>,
    },
    Commit {
        broker: u32,
        commit: Commit,
    },
    Persisted {
        broker: u32,
        write: u64,
        generation: i32,
        members: Vec<MemberId>,
    },
    SessionEnded {
        broker: u32,
        session: u64,
    },
}

pub(super) struct World {
    pub(super) random: u64,
    pub(super) begin: Instant,
    pub(super) now_ms: u64,
    pub(super) coordinator: Coordinator,
    /// Which broker lives: rises with each restart.
    pub(super) broker: u32,
    pub(super) log: (i32, Vec<MemberId>),
    pub(super) topics: BTreeMap<Arc<str>, i32>,
    pub(super) events: BTreeMap<(u64, u64), Event>,
    pub(super) clients: Vec<Client>,
    /// Whose ticket it is.
    pub(super) askers: BTreeMap<u64, usize>,
    pub(super) next: u64,
    pub(super) is_faulty: bool,
    /// Who was told a partition in a generation, by instance or id.
    pub(super) told: BTreeMap<(i32, TopicPartition), String>,
    /// Who took a partition up last.
    pub(super) last_taken: BTreeMap<TopicPartition, MemberId>,
}

pub(super) type Checked = std::result::Result<(), String>;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            begin: Instant::now(),
            now_ms: 0,
            coordinator: Coordinator::default(),
            broker: 0,
            log: (0, Vec::new()),
            topics: BTreeMap::from([(topic("t"), 7), (topic("u"), 4)]),
            events: BTreeMap::new(),
            clients: Vec::new(),
            askers: BTreeMap::new(),
            next: 1,
            is_faulty: true,
            told: BTreeMap::new(),
            last_taken: BTreeMap::new(),
        };
        world.start_broker();
        for name in 0..5 {
            let instance = (name % 2 == 1).then(|| Arc::from(format!("i{name}")));
            let session = world.unique();
            world.clients.push(Client::new(name, instance, session));
        }
        world
    }

    pub(super) fn unique(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn random(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    pub(super) fn now(&self) -> Instant {
        self.begin + ms(self.now_ms)
    }

    pub(super) fn start_broker(&mut self) {
        self.broker += 1;
        self.coordinator = Coordinator::default();
        for (name, count) in self.topics.clone() {
            self.coordinator
                .topic_changed(self.now(), &name, Some(count));
        }
        let (generation, members) = self.log.clone();
        self.coordinator
            .recover(self.now(), GROUP, generation, &members);
    }

    /// Sends something: now and then late, twice or not at all.
    pub(super) fn send(&mut self, event: Event) {
        let (copies, slowest) = if self.is_faulty {
            let copies = [1, 1, 1, 1, 1, 1, 0, 2][usize::try_from(self.random(8)).unwrap()];
            (
                copies,
                [20, 20, 20, 900][usize::try_from(self.random(4)).unwrap()],
            )
        } else {
            (1, 20)
        };
        for _ in 0..copies {
            let at = self.now_ms + 1 + self.random(slowest);
            let key = (at, self.unique());
            self.events.insert(key, event.clone());
        }
    }

    pub(super) fn at(&mut self, after_ms: u64, event: Event) {
        let key = (self.now_ms + after_ms, self.unique());
        self.events.insert(key, event);
    }

    pub(super) fn take(&mut self, outputs: Vec<Output>) -> Checked {
        for output in outputs {
            match output {
                Output::Answer { ticket, result } => {
                    if let Ok(assigned) = &result {
                        self.check_told(assigned)?;
                    }
                    let broker = self.broker;
                    self.send(Event::Answer {
                        broker,
                        ticket,
                        result,
                    });
                }
                Output::Joined { .. } | Output::Synced { .. } => unreachable!("{output:?}"),
                Output::Persist {
                    write,
                    generation,
                    members,
                    ..
                } => {
                    let broker = self.broker;
                    let slowest = [30, 30, 30, 1_500][usize::try_from(self.random(4)).unwrap()];
                    let slowest = if self.is_faulty { slowest } else { 30 };
                    let after_ms = 1 + self.random(slowest);
                    let persisted = Event::Persisted {
                        broker,
                        write,
                        generation,
                        members,
                    };
                    self.at(after_ms, persisted);
                }
            }
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, name: usize) {
        let ticket = self.unique();
        self.askers.insert(ticket, name);
        let client = &mut self.clients[name];
        client.asked = Some((ticket, self.now_ms));
        let heartbeat = Box::new(client.heartbeat(ticket));
        let broker = self.broker;
        self.send(Event::Ask { broker, heartbeat });
    }

    /// One millisecond or more: until the next that happens.
    pub(super) fn step(&mut self) -> Checked {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let wakeup = self.coordinator.next_wakeup().map(|at| {
            let after = at.saturating_duration_since(self.begin);
            u64::try_from(after.as_millis()).unwrap() + 1
        });
        let soonest = event.into_iter().chain(wakeup).min().unwrap_or(u64::MAX);
        self.now_ms = soonest.clamp(self.now_ms, self.now_ms + 10);
        if wakeup.is_some_and(|at| at <= self.now_ms) {
            let outputs = self.coordinator.advance(self.now());
            self.take(outputs)?;
        }
        while let Some(entry) = self
            .events
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now_ms)
        {
            let event = entry.remove();
            self.happen(event)?;
            self.check_holders()?;
        }
        for name in 0..self.clients.len() {
            self.let_client_act(name);
        }
        self.check_holders()
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Ask { broker, heartbeat } if broker == self.broker => {
                let outputs = self
                    .coordinator
                    .heartbeat(self.now(), &heartbeat, self.log.0);
                self.take(outputs)
            }
            Event::Answer {
                broker,
                ticket,
                result,
            } if broker == self.broker => {
                self.answered(ticket, &result);
                Ok(())
            }
            Event::Commit { broker, commit } if broker == self.broker => self.commit(&commit),
            Event::Persisted {
                broker,
                write,
                generation,
                members,
            } if broker == self.broker => {
                if generation < self.log.0 {
                    return Err(format!("generation {generation} follows {}", self.log.0));
                }
                if self.is_faulty && self.random(20) == 0 {
                    let full = Err(Error::new(ErrorCode::DiskFull, "full"));
                    let outputs = self.coordinator.persisted(self.now(), GROUP, write, full);
                    return self.take(outputs);
                }
                self.log = (generation, members);
                let outputs = self.coordinator.persisted(self.now(), GROUP, write, Ok(()));
                self.take(outputs)
            }
            Event::SessionEnded { broker, session } if broker == self.broker => {
                let outputs = self.coordinator.session_ended(self.now(), session);
                self.take(outputs)
            }
            // What was sent to a broker that is gone went with it.
            _ => Ok(()),
        }
    }

    fn answered(&mut self, ticket: u64, result: &Result<Assigned>) {
        let name = self.askers[&ticket];
        let (now_ms, members) = (self.now_ms, self.members());
        let client = &mut self.clients[name];
        if !client.is_running {
            return;
        }
        // One that was removed may take things up until it learns it; its commits do not count.
        let is_member = members.contains(&client.member_id);
        let before: BTreeSet<_> = client.owned.keys().cloned().collect();
        let is_due = client.accept(ticket, result, now_ms);
        let taken = client
            .owned
            .keys()
            .filter(|partition| !before.contains(*partition));
        for partition in taken.filter(|_| is_member) {
            self.last_taken
                .insert(partition.clone(), Arc::clone(&client.member_id));
        }
        if is_due {
            self.ask(name);
        }
    }

    fn let_client_act(&mut self, name: usize) {
        let now_ms = self.now_ms;
        let client = &mut self.clients[name];
        if !client.is_running {
            return;
        }
        let has_let_go = client.let_go(now_ms);
        let waited = client.asked.map(|(_, since)| now_ms - since);
        if waited.is_some_and(|waited| waited >= ANSWER_MS) {
            // It connects anew; the broker learns of the old connection's end sooner or later.
            let session = client.session;
            let broker = self.broker;
            let after_ms = self.random(500);
            self.at(after_ms, Event::SessionEnded { broker, session });
            self.clients[name].session = self.unique();
            self.ask(name);
        } else if has_let_go || waited.is_none() {
            self.ask(name);
        }
    }

    pub(super) fn maybe_commit(&mut self) {
        let name = usize::try_from(self.random(5)).unwrap();
        let client = &mut self.clients[name];
        let commit = client.owned.keys().next().map(|partition| Commit {
            member_id: Arc::clone(&client.member_id),
            generation: client.generation,
            partition: partition.clone(),
        });
        let is_late = self.random(3) == 0;
        let client = &mut self.clients[name];
        let sent = if is_late {
            std::mem::replace(&mut client.late_commit, commit)
        } else {
            commit
        };
        if let Some(commit) = sent {
            let broker = self.broker;
            self.send(Event::Commit { broker, commit });
        }
    }

    pub(super) fn run_quietly(&mut self, for_ms: u64) -> Checked {
        let end = self.now_ms + for_ms;
        while self.now_ms < end {
            self.step()?;
        }
        Ok(())
    }
}
