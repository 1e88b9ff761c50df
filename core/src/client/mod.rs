//! How it is used: producers, consumers and administration, over a transport to a log in this process
//! or behind a socket.

pub(crate) mod transport;
