//! `headwater dump`: prints or verifies a data folder, offline and read-only.

use headwater::{Error, ErrorCode};

use super::args::Dump;
use super::{Ended, Io, Stop};

pub(super) fn run(args: &Dump, _io: &mut Io, _stop: &Stop) -> Result<Ended, Error> {
    let _ = (&args.dir, args.verify);
    Err(Error::new(
        ErrorCode::UnsupportedFeature,
        "dump is being built",
    ))
}
