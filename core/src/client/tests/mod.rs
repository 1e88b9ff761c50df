//! Clients, a broker, the network and the disk, together.

#[cfg(test)]
mod growing;
pub mod simulation;
