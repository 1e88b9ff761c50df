//! Ctrl-C and its relatives, for programs: the library itself never touches signals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use crate::cli::Stop;

/// Asks the running command to end at the first Ctrl-C (on Unix also at SIGTERM and SIGHUP); at the
/// second one calls `insist`, which should end the process.
///
/// From the return on, a signal is heard: none falls between the start of a command and this.
/// If signals cannot be listened to, the system's own ways stand: the first one ends the process.
#[must_use]
pub fn stop_on_interrupt(insist: fn()) -> Stop {
    let stop = Stop::default();
    let asked = stop.clone();
    let listening = std::thread::Builder::new().name("headwater-signals".to_owned());
    let (standing, stands) = mpsc::channel::<()>();
    // Without the thread the process ends at the first signal: the command still works.
    let _ = listening.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        let was_asked = AtomicBool::new(false);
        let heard = || {
            if was_asked.swap(true, Ordering::SeqCst) {
                insist();
            }
            asked.set();
        };
        runtime.block_on(listen(standing, heard));
    });
    // Ends when the listener stands, or with an error when it went without standing.
    let _ = stands.recv();
    stop
}

#[cfg(unix)]
async fn listen(standing: mpsc::Sender<()>, heard: impl Fn()) {
    use tokio::signal::unix::{SignalKind, signal};

    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return;
    };
    let _ = standing.send(());
    loop {
        tokio::select! {
            Some(()) = interrupt.recv() => heard(),
            Some(()) = terminate.recv() => heard(),
            Some(()) = hangup.recv() => heard(),
            else => return,
        }
    }
}

#[cfg(not(unix))]
async fn listen(standing: mpsc::Sender<()>, heard: impl Fn()) {
    // Told before the first wait: there is no way here to know that the handler stands.
    let _ = standing.send(());
    while tokio::signal::ctrl_c().await.is_ok() {
        heard();
    }
}
