//! The words for writing: appends at every level, alone and in groups, repetitions, syncs, idling.

use super::*;

impl Stage {
    /// A value of `len` bytes that no other append has.
    pub(in super::super) fn value(&mut self, len: usize) -> Vec<u8> {
        self.count += 1;
        let bytes = self.count.to_le_bytes();
        let pattern = bytes.iter().copied().chain([0xa5, self.count as u8 | 1]);
        pattern.cycle().take(len.max(8)).collect()
    }

    /// A batch of one record of `len` bytes and a short one.
    pub(in super::super) fn batch(&mut self, partition: u32, len: usize) -> Request {
        records(partition, &[&self.value(len), b"tail"])
    }

    /// The next batch of a producer.
    pub(in super::super) fn next_of(
        &mut self,
        partition: u32,
        producer_id: i64,
        len: usize,
    ) -> Request {
        let windows = Windows::of(&self.story.entries).unwrap_or_default();
        let (epoch, sequence) = windows.next_sequence(partition, producer_id);
        let value = self.value(len);
        produced(partition, &[&value, b"tail"], producer_id, epoch, sequence)
    }

    /// Whether a partition is open.
    pub(in super::super) fn has(&self, partition: u32) -> bool {
        let log = self.log();
        log.is_some_and(|log| log.next_offset(PartitionId(partition)).is_some())
    }

    /// Appends, and waits for the answer.
    pub(in super::super) fn append(&mut self, request: Request) -> Option<Appended> {
        self.append_all(vec![request], false)?.pop()
    }

    /// Has several appends written by one call, and waits for their answers.
    pub(in super::super) fn append_group(
        &mut self,
        requests: Vec<Request>,
    ) -> Option<Vec<Appended>> {
        self.append_all(requests, true)
    }

    fn append_all(&mut self, requests: Vec<Request>, is_group: bool) -> Option<Vec<Appended>> {
        let log = self.log()?;
        let levels: Vec<_> = requests.iter().map(|request| request.ack).collect();
        let is_synced = levels.iter().any(|level| *level != Durability::Os);
        let is_sync_wanted = requests
            .iter()
            .any(|request| request.topic != Durability::Os);
        for request in &requests {
            self.story.attempt(bodies(request));
        }
        let submit_all = || {
            let pendings = requests.into_iter();
            let pendings = pendings.map(|request| submit(&log, request, Run::Here));
            pendings.collect::<Vec<_>>()
        };
        // While this thread looks at the writer, nobody writes: what is queued becomes one group.
        let pendings = if is_group {
            log.shared.with_writer(|_| submit_all())
        } else {
            submit_all()
        };
        let answers: Vec<_> = pendings
            .into_iter()
            .map(|mut pending| pending.wait(None))
            .collect();
        self.note();
        let mut appended = Vec::new();
        for (answer, level) in answers.into_iter().zip(levels) {
            match answer {
                Ok(answer) => {
                    self.story.acknowledge(&answer, level);
                    appended.push(answer);
                }
                Err(_) if self.is_over() => return None,
                Err(error) => {
                    self.violate(format!("refused: {error}"));
                    return None;
                }
            }
        }
        if let Err(violation) = self.story.check_answers(&appended) {
            self.violate(violation);
            return None;
        }
        if is_sync_wanted {
            self.settle()?;
        }
        if is_synced || is_sync_wanted {
            self.await_keeping()?;
        }
        Some(appended)
    }

    /// Appends `first` at `disk`, and the others while its sync is under way.
    pub(in super::super) fn append_while_syncing(
        &mut self,
        first: Request,
        others: Vec<Request>,
    ) -> Option<()> {
        let (log, first) = (self.log()?, first.disk());
        self.storage.pause_syncs();
        self.story.attempt(bodies(&first));
        let mut pending = submit(&log, first, Run::Here);
        while self.storage.paused_syncs() == 0 && !self.is_over() {
            std::thread::yield_now();
        }
        self.note();
        let index = self.story.last_index();
        let appended = others
            .into_iter()
            .try_for_each(|request| self.append_all(vec![request], false).map(drop));
        self.storage.resume_syncs();
        let answer = pending.wait(None);
        appended?;
        match answer {
            Ok(answer) if answer.index == index => {
                self.story.promise(index);
                self.await_keeping()
            }
            Err(_) if self.is_over() => None,
            answer => self.violate(format!("{answer:?} for index {index}")),
        }
    }

    /// All but the last so many records of each partition are dead: has segments removed that hold no others.
    pub(in super::super) fn clean(&mut self, living: i64) -> Option<()> {
        self.clean_each(|_| living)
    }

    /// The same, with a number for each partition; and what lives of other segments is moved, if that is
    /// worth it.
    pub(in super::super) fn clean_each(&mut self, living: impl Fn(u32) -> i64) -> Option<()> {
        let log = self.log()?;
        let windows = Windows::of(&self.story.entries).unwrap_or_default();
        let ends = windows.next_offsets();
        let starts: BTreeMap<_, _> = ends.map(|(id, end)| (id, end - living(id))).collect();
        self.story.bury(&starts);
        let rules = |partition: PartitionId| starts.get(&partition.0).copied().map(below);
        match log.clean(log.synced(), &rules) {
            Some(_) => Some(()),
            None => self.violate("what is synced was not removed because it is not"),
        }
    }

    /// After a sync: waits until every snapshot and checkpoint is written that is due then, and the zeros.
    fn await_keeping(&self) -> Option<()> {
        let log = self.log()?;
        let is_preparing = || log.shared.is_preparing.load(Ordering::Acquire);
        while log.shared.keeper.is_busy(&log.shared) || is_preparing() {
            if self.storage.is_off() || log.shared.queue.refusal().is_some() {
                return None;
            }
            std::thread::yield_now();
        }
        Some(())
    }

    /// Sends again the last batch of a producer, which has to be recognised.
    pub(in super::super) fn repeat(&mut self, request: Request, first: Appended) -> Option<()> {
        let log = self.log()?;
        let is_disk = request.ack != Durability::Os;
        let again = submit(&log, request, Run::Here).wait(None);
        match again {
            Ok(again) if (again.index, again.is_duplicate) == (first.index, true) => {
                if is_disk {
                    self.story.promise(again.index);
                }
                Some(())
            }
            Err(_) if self.is_over() => None,
            again => self.violate(format!("{first:?}, repeated: {again:?}")),
        }
    }

    /// Appends what has to be refused, and changes nothing.
    pub(in super::super) fn refuse(&mut self, request: Request) -> Option<()> {
        let log = self.log()?;
        let written = log.written();
        match submit(&log, request, Run::Here).wait(None) {
            Err(_) if self.is_over() => None,
            Err(_) if log.written() == written => Some(()),
            answer => self.violate(format!("not refused: {answer:?}")),
        }
    }

    fn note(&mut self) {
        if let Some(open) = &mut self.open {
            let new = open.tape.entries(open.noted);
            open.noted += new.len();
            self.story.note(new);
        }
    }

    pub(in super::super) fn sync(&mut self) -> Option<()> {
        let log = self.log()?;
        let (completion, mut pending) = Completion::pair();
        log.sync(completion);
        match pending.wait(None) {
            Ok(()) => {
                self.story.promise(self.story.last_index());
                self.await_keeping()
            }
            Err(_) if self.is_over() => None,
            Err(error) => self.violate(format!("the log does not sync: {error}")),
        }
    }

    /// Waits until everything is synced that somebody else wants synced.
    fn settle(&mut self) -> Option<()> {
        let log = self.log()?;
        let last = self.story.last_index();
        while log.synced() < last {
            if self.is_over() {
                return None;
            }
            std::thread::yield_now();
        }
        self.story.promise(last);
        Some(())
    }

    /// Waits for the MARK of a log that is idle since its last sync, and for the MARK's sync.
    pub(in super::super) fn idle(&self) -> Option<()> {
        let open = self.open.as_ref()?;
        assert!(open.is_idle_marked, "opened for idling");
        let marked = &open.log.shared.marked;
        let last = self.story.last_index();
        // The MARK's own sync is the last operation until something is appended.
        while marked.load(Ordering::Acquire) < last || !is_mark_synced(&self.storage) {
            if self.is_over() {
                return None;
            }
            std::thread::yield_now();
        }
        Some(())
    }
}

fn is_mark_synced(storage: &FaultyStorage) -> bool {
    let operations = storage.operations();
    let mut last = operations.iter().rev().map(|operation| &operation.action);
    let is_sync = last.next() == Some(&Action::Sync);
    let length = FRAME_HEADER_BYTES as u64;
    is_sync && matches!(last.next(), Some(Action::Write { length: found, .. }) if *found == length)
}

fn bodies(request: &Request) -> Vec<Body> {
    if request.kind != Kind::Set {
        return vec![Body::of(request.kind.number(), &request.payload)];
    }
    let parts = set::parts(&request.payload).unwrap();
    let bodies = parts
        .iter()
        .map(|part| Body::of(part.kind.number(), part.payload));
    bodies.collect()
}
