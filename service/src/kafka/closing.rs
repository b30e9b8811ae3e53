//! How clients end, also when the broker says nothing any more: nothing here waits without a limit.
//! The library takes a tenth of a second for a consumer or an admin client, and a start, which needs ten
//! for a moment each, would wait for that ten times over: those are closed on a thread of their own. A consumer that is
//! needed to the end leaves its group first.

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a consumer that leaves its group is asked whether it has.
const LEAVING: Duration = Duration::from_micros(500);
/// How long a group may take to be left. After that its coordinator finds out by itself, from the missing heartbeats.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// How often clients that are being closed are looked at.
const FINISHING: Duration = Duration::from_millis(5);

/// A client that could not be closed is still there, with its threads.
static ABANDONED: AtomicBool = AtomicBool::new(false);

static CLOSING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Closes what is or holds a client beside everything else; [`finish_closing`] waits for it. Without a thread to do it, at
/// once.
pub fn close<T: Send + 'static>(client: T) {
    let thread = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || drop(client));
    if let Ok(handle) = thread {
        let mut closing = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
        closing.retain(|handle| !handle.is_finished());
        closing.push(handle);
    }
}

/// Leaves the group, callbacks included, and waits until it is left; records that come meanwhile are dropped. The client's
/// own end of a consumer does the same, but looks only every 100 ms, and for ever: a consumer that has not left within
/// [`LEAVE_LIMIT`] is never destroyed.
pub fn leave<C: ConsumerContext>(consumer: &Arc<BaseConsumer<C>>) {
    let deadline = Instant::now() + LEAVE_LIMIT;
    if consumer.close_queue().is_err() {
        return;
    }
    while !consumer.closed() {
        if Instant::now() >= deadline {
            tracing::debug!("a group was not left in time: its coordinator says nothing");
            ABANDONED.store(true, Ordering::Relaxed);
            std::mem::forget(Arc::clone(consumer));
            return;
        }
        drop(consumer.poll(Duration::ZERO));
        std::thread::sleep(LEAVING);
    }
}

/// Waits for what [`close`] began, for `limit` at most: the last thing a process does, for the library must not be at
/// work when the process takes its memory down. False if it still is.
#[must_use]
pub fn finish_closing(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let closing = std::mem::take(&mut *CLOSING.lock().unwrap_or_else(PoisonError::into_inner));
    for handle in closing {
        while !handle.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(FINISHING);
        }
        // A panic on that thread has been printed, and there is nothing left to do for it.
        let _ = handle.join();
    }
    !ABANDONED.load(Ordering::Relaxed)
}
