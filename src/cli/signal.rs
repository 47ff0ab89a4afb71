//! SIGINT and SIGTERM as messages, so that a command ends in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded, unbounded};
use tokio::signal::unix::{SignalKind, signal};

use super::Status;

/// Gets the name of each signal that asks this process to stop. From now on they do nothing by themselves.
pub fn stop_signals() -> io::Result<Receiver<&'static str>> {
    let (sender, signals) = unbounded();
    let (ready_sender, ready) = bounded(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async move {
            let listened = signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
            let (mut interrupt, mut terminate) = match listened {
                Ok(both) => both,
                Err(error) => return drop(ready_sender.send(Err(error))),
            };
            drop(ready_sender.send(Ok(())));
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                if sender.send(name).is_err() {
                    return;
                }
            }
        });
    })?;
    match ready.recv() {
        Ok(listening) => listening.map(|()| signals),
        Err(_) => Err(io::Error::other("the thread that listens for signals ended")),
    }
}

/// A flag that the first signal raises; the second one ends the process.
pub fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let signals = stop_signals()?;
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    std::thread::Builder::new().name("stop-flag".into()).spawn(move || {
        while signals.recv().is_ok() {
            if raised.swap(true, Ordering::SeqCst) {
                std::process::exit(Status::Interrupted as i32);
            }
        }
    })?;
    Ok(flag)
}
