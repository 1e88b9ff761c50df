//! NATS JetStream: a partition is a subject of one stream in files, a record a message that is acknowledged.

use std::io::Write;
use std::time::Instant;

use super::Result;
use super::figures::{Figures, Shape, paced, stamp, stamped, timed};
use super::wire::{Wire, produce};

/// Messages not acknowledged: the largest window that its own clients propose.
const WINDOW: u64 = 4_096;
const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\
    \"protocol\":0,\"lang\":\"rust\",\"version\":\"0\"}\r\nPING\r\n";

pub(crate) fn run(port: u16, work: &str, shape: &Shape) -> Result<Figures> {
    match work {
        "produce" => {
            create(port)?;
            let value = shape.value();
            let wires = (0..shape.connections).map(|_| connect(port));
            let wires = wires.collect::<Result<Vec<_>>>()?;
            let figures = produce(shape, wires, WINDOW, &|wire, partition, count| {
                let one = publish(partition, &inbox(wire)?, &value);
                Ok(one.repeat(usize::try_from(count)?))
            })?;
            check(port, shape)?;
            Ok(figures)
        }
        "consume" => consume(port, shape),
        "latency" => {
            create(port)?;
            let mut wire = connect(port)?;
            let request = publish(0, &inbox(&wire)?, &shape.value());
            timed(shape, || {
                wire.say(&request)?;
                message(&mut wire).map(drop)
            })
        }
        "end-to-end" => end_to_end(port, shape),
        _ => Err(format!("{work} is no work").into()),
    }
}

/// A connection that hears the answers to what it publishes.
fn connect(port: u16) -> Result<Wire> {
    let mut wire = Wire::connect(port)?;
    let info = wire.line()?;
    if !info.starts_with("INFO ") {
        return Err(info.into());
    }
    wire.say(CONNECT)?;
    let pong = wire.line()?;
    if pong != "PONG" {
        return Err(pong.into());
    }
    // An inbox of its own: answers on a shared one would come to every connection.
    wire.say(format!("SUB {} 1\r\n", inbox(&wire)?).as_bytes())?;
    Ok(wire)
}

fn inbox(wire: &Wire) -> Result<String> {
    Ok(format!("_I.{}", wire.to.local_addr()?.port()))
}

/// The next message's body; answers pings on the way.
fn message(wire: &mut Wire) -> Result<Vec<u8>> {
    loop {
        let line = wire.line()?;
        if line == "PING" {
            wire.say(b"PONG\r\n")?;
        } else if line.starts_with("MSG ") {
            let length = line.rsplit(' ').next().unwrap_or_default();
            return wire.body(length.parse()?);
        } else {
            return Err(line.into());
        }
    }
}

/// A request to JetStream itself, which must be answered without an error.
fn ask(wire: &mut Wire, subject: &str, body: &str) -> Result<String> {
    let inbox = inbox(wire)?;
    let request = format!("PUB $JS.API.{subject} {inbox} {}\r\n{body}\r\n", body.len());
    wire.say(request.as_bytes())?;
    Ok(String::from_utf8(message(wire)?)?)
}

fn asked(wire: &mut Wire, subject: &str, body: &str) -> Result<String> {
    let answer = ask(wire, subject, body)?;
    if answer.contains("\"error\"") {
        return Err(answer.into());
    }
    Ok(answer)
}

/// Makes the stream anew.
fn create(port: u16) -> Result<()> {
    let mut wire = connect(port)?;
    ask(&mut wire, "STREAM.DELETE.S", "")?;
    let stream = "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"storage\":\"file\",\"num_replicas\":1,\
        \"retention\":\"limits\",\"discard\":\"old\"}";
    asked(&mut wire, "STREAM.CREATE.S", stream).map(drop)
}

/// Whether everything is there.
fn check(port: u16, shape: &Shape) -> Result<()> {
    let mut wire = connect(port)?;
    let info = asked(&mut wire, "STREAM.INFO.S", "")?;
    let there = format!("\"messages\":{},", shape.records);
    if info.contains(&there) {
        return Ok(());
    }
    Err(format!("{there} is not in {info}").into())
}

fn publish(partition: u64, inbox: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = format!("PUB s.{partition} {inbox} {}\r\n", value.len()).into_bytes();
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Has the stream pushed to this connection from its beginning, without acknowledgements: the fastest way to read it.
fn subscribe(wire: &mut Wire) -> Result<()> {
    let port = wire.to.local_addr()?.port();
    wire.say(format!("SUB _D.{port} 2\r\n").as_bytes())?;
    let consumer = format!(
        "{{\"stream_name\":\"S\",\"config\":{{\"deliver_subject\":\"_D.{port}\",\"deliver_policy\":\"all\",\
         \"ack_policy\":\"none\",\"mem_storage\":true,\"num_replicas\":1}}}}"
    );
    // The answer and the first messages come in any order.
    let inbox = inbox(wire)?;
    let length = consumer.len();
    let request = format!("PUB $JS.API.CONSUMER.CREATE.S {inbox} {length}\r\n{consumer}\r\n");
    wire.say(request.as_bytes())
}

/// Reads the stream from its beginning: each message has two lines, and so has the answer to the subscription.
fn consume(port: u16, shape: &Shape) -> Result<Figures> {
    let mut wire = connect(port)?;
    let begun = Instant::now();
    subscribe(&mut wire)?;
    wire.skip_lines((shape.records + 1) * 2)?;
    Ok(shape.done_in(begun.elapsed()))
}

fn end_to_end(port: u16, shape: &Shape) -> Result<Figures> {
    create(port)?;
    let mut sending = connect(port)?;
    let mut reading = connect(port)?;
    subscribe(&mut reading)?;
    let answer = String::from_utf8(message(&mut reading)?)?;
    if answer.contains("\"error\"") {
        return Err(answer.into());
    }
    let inbox = inbox(&sending)?;
    let mut value = shape.value();
    // The first pays for what is set up once, and is not counted.
    sending.say(&publish(0, &inbox, &value))?;
    message(&mut sending)?;
    message(&mut reading)?;
    let mut to = sending.to.try_clone()?;
    let begun = Instant::now();
    let latencies = std::thread::scope(|scope| -> Result<_> {
        let receiving = scope.spawn(|| {
            let mut receive = || -> Result<_> {
                let mut latencies = Vec::new();
                while (latencies.len() as u64) < shape.records {
                    let value = message(&mut reading)?;
                    latencies.push(begun.elapsed().saturating_sub(stamped(&value)?));
                }
                Ok(latencies)
            };
            receive().map_err(|error| error.to_string())
        });
        let draining = scope.spawn(move || {
            let mut drain = || (0..shape.records).try_for_each(|_| message(&mut sending).map(drop));
            drain().map_err(|error| error.to_string())
        });
        paced(shape, begun, |due| {
            stamp(&mut value, due)?;
            Ok(to.write_all(&publish(0, &inbox, &value))?)
        })?;
        draining.join().map_err(|_| "the reader panicked")??;
        let received = receiving.join().map_err(|_| "the reader panicked")?;
        Ok(received?)
    })?;
    Ok(Figures {
        latencies,
        ..shape.done_in(begun.elapsed())
    })
}
