//! Clients, a broker, the network and the disk, together.

mod simulation;
