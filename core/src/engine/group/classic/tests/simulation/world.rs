//! The world of the simulation: the network, the log, what goes wrong, and time.

use std::collections::BTreeSet;

use super::client::{ANSWER_MS, Ask, Client, Doing};
use super::*;

pub(super) enum Event {
    Join(Box<Join>),
    Sync(Box<Sync>),
    Beat(u64, Speaker),
    Leave(Leave),
    Joined(u64, Result<Joined>),
    Synced(u64, Result<Synced>),
    Beaten(u64, Result<()>),
    Commit(Speaker),
    Persisted(u64, i32, Vec<MemberId>),
    SessionEnded(u64),
}

pub(super) struct World {
    random: u64,
    begin: Instant,
    now_ms: u64,
    pub(super) coordinator: Coordinator,
    pub(super) log: (i32, Vec<MemberId>),
    /// By time; each with the broker that it was sent to or came from.
    events: BTreeMap<(u64, u64), (u32, Event)>,
    broker: u32,
    pub(super) clients: Vec<Client>,
    /// Whose ticket it is, and in which generation and under which id it was sent.
    askers: BTreeMap<u64, (usize, i32, String)>,
    next: u64,
    pub(super) is_faulty: bool,
    pub(super) newest: i32,
    pub(super) protocols: BTreeMap<i32, Arc<str>>,
    pub(super) rosters: BTreeMap<i32, BTreeSet<String>>,
    pub(super) members_told: BTreeMap<i32, BTreeSet<String>>,
    pub(super) assigned: BTreeMap<(i32, u8), String>,
    /// Who was told last that it has a place.
    pub(super) holders: BTreeMap<String, MemberId>,
}

pub(super) type Checked = std::result::Result<(), String>;

/// A static member's place outlives its id; another one's does not.
pub(super) fn place_of(id: &str) -> String {
    let place = id.split_once('.').map_or(id, |(place, _)| place);
    if place.starts_with('i') { place } else { id }.to_owned()
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            begin: Instant::now(),
            now_ms: 0,
            coordinator: Coordinator::default(),
            log: (0, Vec::new()),
            events: BTreeMap::new(),
            broker: 1,
            clients: Vec::new(),
            askers: BTreeMap::new(),
            next: 1,
            is_faulty: true,
            newest: 0,
            protocols: BTreeMap::new(),
            rosters: BTreeMap::new(),
            members_told: BTreeMap::new(),
            assigned: BTreeMap::new(),
            holders: BTreeMap::new(),
        };
        for name in 0..5 {
            let session = world.unique();
            world.clients.push(Client::new(name, session));
        }
        world
    }

    fn unique(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn random(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let count = u64::try_from(of.len()).unwrap();
        of[usize::try_from(self.random(count)).unwrap()]
    }

    fn now(&self) -> Instant {
        self.begin + ms(self.now_ms)
    }

    fn at(&mut self, after_ms: u64, event: Event) {
        let key = (self.now_ms + after_ms, self.unique());
        self.events.insert(key, (self.broker, event));
    }

    /// Sends something: now and then late, or not at all.
    fn send(&mut self, event: Event) {
        if !self.is_faulty {
            let after_ms = 1 + self.random(20);
            return self.at(after_ms, event);
        }
        let slowest = self.pick(&[20, 20, 20, 900]);
        let after_ms = 1 + self.random(slowest);
        if self.random(20) != 0 {
            self.at(after_ms, event);
        }
    }

    fn take(&mut self, outputs: Vec<Output>) -> Checked {
        for output in outputs {
            match output {
                Output::Joined { ticket, result } => {
                    if let Ok(joined) = &result {
                        self.check_joined(joined)?;
                    }
                    self.send(Event::Joined(ticket, result));
                }
                Output::Synced { ticket, result } => {
                    let (_, generation, id) = self.askers[&ticket].clone();
                    if let Ok(synced) = &result {
                        self.check_synced(&id, generation, synced)?;
                    }
                    self.send(Event::Synced(ticket, result));
                }
                Output::Persist {
                    write,
                    generation,
                    members,
                    ..
                } => {
                    let slowest = self.pick(&[30, 30, 30, 1_500]);
                    let slowest = if self.is_faulty { slowest } else { 30 };
                    let after_ms = 1 + self.random(slowest);
                    self.at(after_ms, Event::Persisted(write, generation, members));
                }
                Output::Answer { .. } => unreachable!("{output:?}"),
            }
        }
        Ok(())
    }

    fn ask(&mut self, name: usize) {
        let (ticket, unique) = (self.unique(), self.unique());
        let client = &mut self.clients[name];
        client.asked = Some((ticket, self.now_ms));
        let (generation, id) = (client.generation, client.id.clone());
        self.askers.insert(ticket, (name, generation, id));
        let kind = if client.instance_id.is_some() {
            'i'
        } else {
            'm'
        };
        let event = match client.ask(ticket, format!("{kind}{name}.{unique}")) {
            Ask::Join(join) => Event::Join(join),
            Ask::Sync(sync) => Event::Sync(sync),
            Ask::Beat(speaker) => Event::Beat(ticket, speaker),
        };
        self.send(event);
    }

    /// One millisecond or more: until the next that happens.
    fn step(&mut self) -> Checked {
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
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now_ms {
                break;
            }
            let (broker, event) = entry.remove();
            // What was sent to a broker that is gone went with it.
            if broker == self.broker {
                self.happen(event)?;
            }
        }
        for name in 0..self.clients.len() {
            self.let_client_act(name);
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Checked {
        let now = self.now();
        let outputs = match event {
            Event::Join(join) => self.coordinator.join(now, &join, self.log.0),
            Event::Sync(sync) => self.coordinator.sync(now, &sync),
            Event::Leave(leave) => self.coordinator.leave(now, &leave).1,
            Event::SessionEnded(session) => self.coordinator.session_ended(now, session),
            Event::Beat(ticket, speaker) => {
                let result = self.coordinator.beat(now, &speaker);
                self.send(Event::Beaten(ticket, result));
                Vec::new()
            }
            Event::Commit(speaker) => return self.commit(&speaker),
            Event::Persisted(write, generation, members) => {
                if generation < self.log.0 {
                    return Err(format!("generation {generation} follows {}", self.log.0));
                }
                let fails = self.is_faulty && self.random(20) == 0;
                let result = if fails { failed() } else { Ok(()) };
                if !fails {
                    self.log = (generation, members);
                }
                self.coordinator.persisted(now, GROUP, write, result)
            }
            Event::Joined(ticket, result) => {
                self.answered(ticket, |client, _| client.joined(&result));
                Vec::new()
            }
            Event::Synced(ticket, result) => {
                self.answered(ticket, |client, now_ms| client.synced(&result, now_ms));
                Vec::new()
            }
            Event::Beaten(ticket, result) => {
                self.answered(ticket, |client, now_ms| client.beaten(&result, now_ms));
                Vec::new()
            }
        };
        self.take(outputs)
    }

    fn answered(&mut self, ticket: u64, take: impl FnOnce(&mut Client, u64)) {
        let client = &mut self.clients[self.askers[&ticket].0];
        let is_awaited = client.asked.is_some_and(|(asked, _)| asked == ticket);
        if client.is_running && is_awaited {
            client.asked = None;
            take(client, self.now_ms);
        }
    }

    fn let_client_act(&mut self, name: usize) {
        let now_ms = self.now_ms;
        let client = &mut self.clients[name];
        if !client.is_running || client.paused_until_ms > now_ms {
            return;
        }
        if let Some((_, since)) = client.asked {
            if now_ms - since >= ANSWER_MS {
                // It connects anew; the broker learns of the old connection's end sooner or later.
                let session = client.session;
                let after_ms = self.random(500);
                self.at(after_ms, Event::SessionEnded(session));
                self.clients[name].session = self.unique();
                self.ask(name);
            }
        } else if client.doing != Doing::Reading || client.beat_at_ms <= now_ms {
            self.ask(name);
        }
    }

    /// Faults for a while.
    pub(super) fn run_with_faults(&mut self, until_ms: u64) -> Checked {
        while self.now_ms < until_ms {
            self.step()?;
            if self.random(60) == 0 {
                self.fail();
            }
            self.maybe_commit();
        }
        Ok(())
    }

    pub(super) fn run_quietly(&mut self, for_ms: u64) -> Checked {
        let end = self.now_ms + for_ms;
        while self.now_ms < end {
            self.step()?;
        }
        Ok(())
    }

    fn fail(&mut self) {
        let name = usize::try_from(self.random(5)).unwrap();
        match self.random(12) {
            0 => self.restart_broker(),
            1 | 2 => self.kill(name),
            3 => self.leave(name),
            4..=6 => self.go_on(name),
            7 => self.clients[name].paused_until_ms = self.now_ms + self.random(4_000),
            8 => self.clients[name].version += 1,
            _ => {}
        }
    }

    fn restart_broker(&mut self) {
        // What is on its way to the log may have arrived all the same.
        let written = self
            .events
            .values()
            .find_map(|(broker, event)| match event {
                Event::Persisted(_, generation, members) if *broker == self.broker => {
                    Some((*generation, members.clone()))
                }
                _ => None,
            });
        if let Some(written) = written.filter(|_| self.now_ms.is_multiple_of(2)) {
            self.log = written;
        }
        self.broker += 1;
        self.coordinator = Coordinator::default();
        let (generation, members) = self.log.clone();
        let now = self.now();
        self.coordinator.recover(now, GROUP, generation, &members);
        // Some notice soon, the others when no answer comes.
        for name in 0..self.clients.len() {
            if self.clients[name].is_running && self.random(2) == 0 {
                self.clients[name].session = self.unique();
                self.ask(name);
            }
        }
    }

    /// The process is gone: it says nothing, and holds nothing.
    fn kill(&mut self, name: usize) {
        let client = &mut self.clients[name];
        client.is_running = false;
        client.begin_anew();
        let session = client.session;
        let after_ms = self.random(300);
        self.at(after_ms, Event::SessionEnded(session));
    }

    fn leave(&mut self, name: usize) {
        let client = &mut self.clients[name];
        let leaver = Leaver {
            member_id: client.id.clone(),
            instance_id: client.instance_id.clone(),
        };
        let leave = Leave {
            session: client.session,
            group: GROUP.to_owned(),
            members: vec![leaver],
        };
        client.is_running = false;
        client.begin_anew();
        self.send(Event::Leave(leave));
    }

    /// The process is there again, as another one.
    pub(super) fn go_on(&mut self, name: usize) {
        if !self.clients[name].is_running {
            self.clients[name].session = self.unique();
            self.clients[name].is_running = true;
        }
    }

    fn maybe_commit(&mut self) {
        let name = usize::try_from(self.random(5)).unwrap();
        let client = &mut self.clients[name];
        let reads = client.doing == Doing::Reading && client.is_running;
        let commit = reads.then(|| client.speaker());
        let is_late = self.random(3) == 0;
        let client = &mut self.clients[name];
        let sent = if is_late {
            std::mem::replace(&mut client.late_commit, commit)
        } else {
            commit
        };
        if let Some(commit) = sent {
            // Without its name it is not fenced by that alone.
            let instance_id = commit.instance_id.filter(|_| self.random(2) == 0);
            self.send(Event::Commit(Speaker {
                instance_id,
                ..commit
            }));
        }
    }
}
