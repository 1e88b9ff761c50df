//! The enumeration: a script is played to each of its operations, and what is left is opened, written to
//! and cut again, at operations of the opening and of what follows, in every mode.

use std::io::ErrorKind;

use super::scripts::{CODA, Script};
use super::stage::{Between, Ending, Failure, Keeping, Stage, World};
use super::*;
use crate::log::storage::faulty::{CrashMode, Random};

/// How often a life that follows a cut is cut again: after it was opened, besides once before.
const CUTS_AGAIN: u64 = 2;

/// An enumeration of one script, by one seed.
#[derive(Debug)]
pub(super) struct Walk {
    script: Script,
    world: World,
    first: u64,
    random: Random,
}

impl Walk {
    pub(super) fn new(script: Script, world: &World, seed: u64) -> Self {
        let world = World {
            segment_bytes: script.segment_bytes,
            keeping: script.keeping,
            zero_bytes: script.zero_bytes,
            ..world.clone()
        };
        Self {
            script,
            world,
            first: seed % script.stride,
            random: Random(seed),
        }
    }

    /// Ends the script at its operations, by a power cut and by a failure.
    ///
    /// # Errors
    /// The first thing that should not have been, and what led to it.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut whole = Stage::new(&self.world);
        whole.play(self.script, Ending::Script)?;
        let operations = whole.now();
        self.follow(&whole, 1)?;
        let operations = (self.first..operations).step_by(self.script.stride as usize);
        for operation in operations {
            let mut stage = Stage::new(&self.world);
            stage.play(self.script, Ending::Off(operation))?;
            self.follow(&stage, 1)?;
            let failure = self.failure(operation);
            let mut stage = Stage::new(&self.world);
            stage.play(self.script, Ending::Failure(failure))?;
            self.follow_failure(&stage)?;
        }
        Ok(())
    }

    /// Follows a life that has ended, in every way; the lives after it `depth` cuts deep.
    fn follow(&mut self, ended: &Stage, depth: u32) -> Result<(), String> {
        let mut betweens: Vec<_> = self.modes().into_iter().map(Between::Cut).collect();
        betweens.push(Between::Kill);
        betweens
            .into_iter()
            .try_for_each(|between| self.follow_by(ended, between, depth))
    }

    /// After a failure: what the page cache shows and the disk does not have is the question.
    fn follow_failure(&mut self, ended: &Stage) -> Result<(), String> {
        let betweens = [
            Between::Kill,
            Between::KillAndEvict,
            Between::Cut(CrashMode::OnlySynced),
            Between::Cut(CrashMode::AllWritten),
            Between::Cut(self.some_mode()),
        ];
        betweens
            .into_iter()
            .try_for_each(|between| self.follow_by(ended, between, 1))
    }

    fn follow_by(&mut self, ended: &Stage, between: Between, depth: u32) -> Result<(), String> {
        let image = ended.image(between);
        // What an open serves no power cut takes, not even one right after it.
        let mut served = ended.after(between, &image);
        served.play(OPEN, Ending::Script)?;
        open_again(&served, CrashMode::OnlySynced)?;
        let mut whole = ended.after(between, &image);
        whole.play(CODA, Ending::Script)?;
        open_again(&whole, self.some_mode())?;
        if depth == 0 {
            return Ok(());
        }
        let (began, opened, ended_at) = (image.now(), whole.opening(), whole.now());
        let mut operations = vec![began + self.random.below((opened - began).max(1))];
        for _ in 0..CUTS_AGAIN {
            operations.push(opened + self.random.below(ended_at - opened));
        }
        for operation in operations {
            let mut part = ended.after(between, &image);
            part.play(CODA, Ending::Off(operation))?;
            let again = match self.random.below(8) {
                0 => Between::Kill,
                _ => Between::Cut(self.some_mode()),
            };
            self.follow_by(&part, again, depth - 1)?;
        }
        Ok(())
    }

    fn failure(&mut self, operation: u64) -> Failure {
        let kinds = [ErrorKind::Other, ErrorKind::StorageFull];
        Failure {
            operation,
            kind: kinds[self.random.below(2) as usize],
            torn: self.random.coin().then(|| self.random.next()),
        }
    }

    fn modes(&mut self) -> Vec<CrashMode> {
        vec![
            CrashMode::OnlySynced,
            CrashMode::AllWritten,
            CrashMode::SubsetOfSectors(self.random.next()),
            CrashMode::SubsetOfSectors(self.random.next()),
            CrashMode::TornLastWrite(0),
            CrashMode::TornLastWrite(100),
            CrashMode::TornLastWrite(self.random.below(2_000) as usize),
            CrashMode::Zeroes,
            CrashMode::GarbageTail(self.random.next()),
            CrashMode::GarbageTail(self.random.next()),
            CrashMode::NamesLost,
            CrashMode::LaterFirst(1),
            CrashMode::LaterFirst(2),
        ]
    }

    fn some_mode(&mut self) -> CrashMode {
        let modes = self.modes();
        modes[self.random.below(modes.len() as u64) as usize]
    }
}

/// Opens what a power cut leaves.
fn open_again(ended: &Stage, mode: CrashMode) -> Result<(), String> {
    let between = Between::Cut(mode);
    let mut again = ended.after(between, &ended.image(between));
    again.play(OPEN, Ending::Script)
}

/// Only opens.
const OPEN: Script = Script {
    name: "open",
    segment_bytes: 0,
    keeping: Keeping::Nothing,
    zero_bytes: 0,
    stride: 1,
    play: Stage::open,
};
