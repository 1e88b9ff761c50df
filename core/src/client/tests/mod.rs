//! Clients, a broker, the network and the disk, together.

pub mod simulation;
