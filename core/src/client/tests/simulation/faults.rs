//! What goes wrong, by the seed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::broker::{Broker, Loss};
use super::network::Network;
use crate::log::storage::faulty::CrashMode;
use crate::world::simulated::World;

/// See the module.
pub(super) struct Faults<'a> {
    pub(super) world: &'a Arc<World>,
    pub(super) network: &'a Arc<Network>,
    pub(super) broker: &'a mut Broker,
    pub(super) clients: usize,
}

impl Faults<'_> {
    /// So many faults, one after the other; the broker is started again after each that ends it.
    pub(super) async fn strike(&mut self, count: u64, gap_ms: u64) {
        for _ in 0..count {
            self.wait(gap_ms).await;
            self.one().await;
        }
        self.wait(gap_ms).await;
    }

    /// Lets time pass, looks at the group, and has a broker that has stopped replaced.
    async fn wait(&mut self, most_ms: u64) {
        let mut left = self.world.below(most_ms + 1);
        while left > 0 {
            let step = left.min(50);
            sleep(Duration::from_millis(step)).await;
            left -= step;
            self.broker.look();
            if self.broker.is_running() && !self.broker.is_well() {
                self.world.note("broker: its log has stopped");
                self.lose().await;
            }
        }
    }

    async fn one(&mut self) {
        let client = self.world.below(self.clients as u64) as usize;
        match self.world.below(10) {
            0 | 1 => {
                self.world.note(format!("cut of client {client}"));
                self.network.cut(client);
            }
            2 | 3 => {
                let period = Duration::from_millis(self.world.below(12_000));
                self.world
                    .note(format!("client {client} is apart for {period:?}"));
                self.network.part(client, period);
            }
            4 => {
                let period = Duration::from_millis(self.world.below(1_000));
                self.world
                    .note(format!("nobody reaches the broker for {period:?}"));
                for client in 0..self.clients {
                    self.network.part(client, period);
                }
            }
            5 => {
                self.world.note("the next sync fails");
                let torn = self.world.below(2) == 0;
                let seed = torn.then(|| self.world.below(u64::MAX));
                self.broker.files().tear_failed_syncs(seed);
                self.broker.files().fail_next_sync();
            }
            6 => {
                self.world.note("the broker is closed and started again");
                self.broker.close().await;
                self.down().await;
            }
            _ => self.lose().await,
        }
    }

    async fn lose(&mut self) {
        let loss = self.loss();
        self.broker.lose(loss);
        self.down().await;
    }

    /// It is started again after a while; now and then it is lost again at once.
    async fn down(&mut self) {
        let down_ms = self.world.below(3_000);
        sleep(Duration::from_millis(down_ms)).await;
        self.broker.start().await;
    }

    fn loss(&self) -> Loss {
        let seed = self.world.below(u64::MAX);
        match self.world.below(12) {
            0..=3 => Loss::Process,
            4 => Loss::Power(CrashMode::OnlySynced),
            5 => Loss::Power(CrashMode::AllWritten),
            6 => Loss::Power(CrashMode::SubsetOfSectors(seed)),
            7 => Loss::Power(CrashMode::TornLastWrite((seed % 4_096) as usize)),
            8 => Loss::Power(CrashMode::Zeroes),
            9 => Loss::Power(CrashMode::GarbageTail(seed)),
            10 => Loss::Power(CrashMode::NamesLost),
            _ => Loss::Power(CrashMode::LaterFirst((seed % 3) as usize)),
        }
    }
}
