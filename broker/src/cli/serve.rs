//! `headwater serve`: a broker until Ctrl-C.

use headwater::Error;
use serde_json::json;

use super::args::Serve;
use super::{Ended, Io, Stop};
use crate::{Broker, Config, Data};

pub(super) fn run(args: &Serve, io: &mut Io, stop: &Stop) -> Result<Ended, Error> {
    let config = config(args)?;
    let place = match &config.data {
        Data::Folder(path) => path.display().to_string(),
        Data::Memory => "memory".to_owned(),
    };
    let broker = Broker::start(config).wait(None)?;
    let addresses: Vec<String> = broker.addresses().iter().map(ToString::to_string).collect();
    if io.is_json() {
        io.json(&json!({ "listening": addresses, "data": place }))?;
    } else {
        io.say(&format!(
            "serving {place} on {}; Ctrl-C ends it",
            addresses.join(", ")
        ));
    }
    // Who started this waits for the line, maybe on a pipe.
    io.flush()?;
    stop.wait();
    io.say("closing");
    broker.close(None).wait(None)?;
    // Being asked to end is how a broker ends well.
    Ok(Ended::Done)
}

fn config(args: &Serve) -> Result<Config, Error> {
    let mut config = match &args.data {
        Some(path) => Config::folder(path),
        None => Config::memory(),
    };
    config.options.listen = (!args.listen.is_empty()).then(|| args.listen.clone());
    config.allow_remote = args.allow_remote;
    config.advertise.clone_from(&args.advertise);
    config.group_initial_delay_ms = args.group_initial_delay_ms;
    for (name, value) in &args.set {
        config.options.set(name, value)?;
    }
    Ok(config)
}
