//! What goes wrong.

use super::world::{Checked, Event, World};
use super::*;

impl World {
    /// Faults for a while.
    pub(super) fn run_with_faults(&mut self, until_ms: u64) -> Checked {
        while self.now_ms < until_ms {
            self.step()?;
            if self.random(40) == 0 {
                self.fail()?;
            }
            self.maybe_commit();
        }
        Ok(())
    }

    fn fail(&mut self) -> Checked {
        let name = usize::try_from(self.random(5)).unwrap();
        match self.random(12) {
            0 => self.restart_broker(),
            1 | 2 => self.kill(name),
            3 => self.leave(name),
            4 | 5 => self.go_on(name),
            6 => {
                self.clients[name].release_ms =
                    [0, 50, 400, 4_000][usize::try_from(self.random(4)).unwrap()]
            }
            7 => self.change_topic()?,
            8 if !self.clients[name].topics.is_empty() => {
                let all = [&["t", "u"][..], &["t"], &["u"]];
                let chosen = all[usize::try_from(self.random(3)).unwrap()];
                self.clients[name].topics = chosen.iter().map(|name| topic(name)).collect();
            }
            _ => {}
        }
        Ok(())
    }

    fn restart_broker(&mut self) {
        // What is on its way to the log may have arrived all the same.
        let written = self.events.values().find_map(|event| match event {
            Event::Persisted {
                broker,
                generation,
                members,
                ..
            } if *broker == self.broker => Some((*generation, members.clone())),
            _ => None,
        });
        if let Some(written) = written.filter(|_| self.now_ms.is_multiple_of(2)) {
            self.log = written;
        }
        self.start_broker();
        // One that was removed, and whose removal the log does not have, is a member as if nothing had been.
        let members = self.log.1.clone();
        let again = self
            .clients
            .iter()
            .filter(|client| members.contains(&client.member_id));
        for client in again {
            for partition in client.owned.keys() {
                let id = Arc::clone(&client.member_id);
                self.last_taken.insert(partition.clone(), id);
            }
        }
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
        if !std::mem::replace(&mut client.is_running, false) {
            return;
        }
        client.begin_anew();
        let (broker, session) = (self.broker, client.session);
        if self.random(2) == 0 {
            let after_ms = self.random(300);
            self.at(after_ms, Event::SessionEnded { broker, session });
        }
    }

    fn leave(&mut self, name: usize) {
        if !self.clients[name].is_running {
            return;
        }
        let ticket = self.unique();
        self.askers.insert(ticket, name);
        let client = &mut self.clients[name];
        let is_static = client.instance_id.is_some();
        client.owned.clear();
        let mut heartbeat = client.heartbeat(ticket);
        heartbeat.generation = if is_static && ticket.is_multiple_of(2) {
            AWAY
        } else {
            LEAVING
        };
        client.is_running = false;
        client.begin_anew();
        let broker = self.broker;
        self.send(Event::Ask {
            broker,
            heartbeat: Box::new(heartbeat),
        });
    }

    /// The process is there again, as another one.
    pub(super) fn go_on(&mut self, name: usize) {
        if self.clients[name].is_running {
            return;
        }
        self.clients[name].session = self.unique();
        self.clients[name].is_running = true;
        self.ask(name);
    }

    fn change_topic(&mut self) -> Checked {
        let count = [None, Some(3), Some(6)][usize::try_from(self.random(3)).unwrap()];
        let name = topic("u");
        match count {
            Some(count) => self.topics.insert(Arc::clone(&name), count),
            None => self.topics.remove(&name),
        };
        let outputs = self.coordinator.topic_changed(self.now(), &name, count);
        self.take(outputs)
    }
}
