//! The broker inside this process, and the command line.
