//! Accepting connections, keeping count of them, and stopping.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::App;
use super::budget::ByteBudget;
use super::connection::{self, Progress};
use super::guard::Reject;
use super::router::Router;
use crate::limits::{HTTP_CONNECTIONS_DEFAULT, HTTP_STALL_SECONDS, INFLIGHT_BYTES_DEFAULT};

/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Refused connections that are given a lingering close at once; more are simply dropped.
const REFUSALS_MAX: usize = 64;
const REFUSAL_LINGER: Duration = Duration::from_secs(1);
/// Bodies that are decompressed or parsed at one time off the reactor's threads.
const HEAVY_BODIES_MAX: usize = 4;

/// The bounds that a user can configure.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    pub max_connections: usize,
    /// Request bytes in memory at once, decoded ones included.
    pub max_inflight_bytes: usize,
    /// How long a head, a piece of a body or a piece of an answer may take.
    pub stall: Duration,
    /// How often a silent event stream sends a comment.
    pub heartbeat: Duration,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            max_connections: HTTP_CONNECTIONS_DEFAULT,
            max_inflight_bytes: INFLIGHT_BYTES_DEFAULT,
            stall: Duration::from_secs(HTTP_STALL_SECONDS),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// What every connection of one server shares.
pub(super) struct Shared<A: App> {
    pub app: Arc<A>,
    pub router: Router<A>,
    pub limits: HttpLimits,
    pub budget: ByteBudget,
    pub heavy: Arc<Semaphore>,
    /// Grows by one with every answer; orders the idle connections.
    pub ticks: Arc<AtomicU64>,
    /// Turns true when the server stops: streams without an end of their own end then.
    pub closing: watch::Receiver<bool>,
}

/// Every open connection, so that the longest idle one can make room and all can be told to stop.
#[derive(Default)]
struct Registry {
    open: Mutex<HashMap<u64, Arc<Progress>>>,
}

impl Registry {
    /// Takes the new connection in, if there is room or an idle one that gives up its place.
    fn admit(&self, id: u64, progress: &Arc<Progress>, max: usize) -> bool {
        let mut open = self.open.lock();
        if open.len() >= max && !Registry::evict(&mut open) {
            return false;
        }
        open.insert(id, Arc::clone(progress));
        true
    }

    fn evict(open: &mut HashMap<u64, Arc<Progress>>) -> bool {
        let oldest = open.iter().filter(|(_, progress)| progress.is_idle()).min_by_key(|(_, p)| p.last_answer());
        let Some(id) = oldest.map(|(&id, _)| id) else { return false };
        if let Some(progress) = open.remove(&id) {
            progress.ask_to_close();
        }
        true
    }

    fn evict_idle(&self) {
        Registry::evict(&mut self.open.lock());
    }

    fn leave(&self, id: u64) {
        self.open.lock().remove(&id);
    }

    fn ask_all_to_close(&self) {
        self.open.lock().values().for_each(|progress| progress.ask_to_close());
    }
}

/// Leaves the registry however its task ends.
struct Membership {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.registry.leave(self.id);
    }
}

/// Serves `app` on `listener` until `shutdown` resolves; then accepts nothing more, finishes what has begun to arrive,
/// closes the rest and returns. Dropping the future closes everything at once.
///
/// # Errors
/// None once it serves: a failed accept is waited out.
pub async fn serve<A: App>(
    listener: TcpListener,
    app: Arc<A>,
    limits: HttpLimits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, closing) = watch::channel(false);
    let shared = Arc::new(Shared {
        router: Router::new(A::routes()),
        app,
        limits,
        budget: ByteBudget::new(limits.max_inflight_bytes),
        heavy: Arc::new(Semaphore::new(HEAVY_BODIES_MAX)),
        ticks: Arc::new(AtomicU64::new(0)),
        closing,
    });
    let registry = Arc::new(Registry::default());
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut next_id = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; closing an idle one and trying again");
                registry.evict_idle();
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        // Answers are written whole; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        next_id += 1;
        let progress = Arc::new(Progress::new(shared.ticks.fetch_add(1, Ordering::Relaxed)));
        if registry.admit(next_id, &progress, limits.max_connections) {
            let membership = Membership { registry: Arc::clone(&registry), id: next_id };
            let shared = Arc::clone(&shared);
            tasks.spawn(async move {
                let _membership = membership;
                connection::run(stream, progress, shared).await;
            });
        } else {
            refuse(stream, &refusals, &mut tasks);
        }
    }
    drop(listener);
    stop.send_replace(true);
    registry.ask_all_to_close();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Tells a client that every connection is busy, as long as there are not too many to tell.
fn refuse(stream: TcpStream, refusals: &Arc<Semaphore>, tasks: &mut JoinSet<()>) {
    if let Ok(permit) = Arc::clone(refusals).try_acquire_owned() {
        tasks.spawn(async move {
            connection::close(stream, Some(Reject::Full.to_response_bytes(false)), REFUSAL_LINGER).await;
            drop(permit);
        });
    }
}

/// Errors of `accept` that are the new connection's own, as opposed to the process's.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
