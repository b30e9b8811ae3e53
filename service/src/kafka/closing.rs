//! How clients end. The library takes a tenth of a second for a consumer or an admin client, and a start, which needs ten
//! for a moment each, would wait for that ten times over: those are closed on a thread of their own. A consumer that is
//! needed to the end leaves its group first.

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a consumer that leaves its group is asked whether it has.
const LEAVING: Duration = Duration::from_micros(500);

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
/// own end of a consumer does the same, but looks only every 100 ms.
pub fn leave<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    if consumer.close_queue().is_ok() {
        while !consumer.closed() {
            drop(consumer.poll(Duration::ZERO));
            std::thread::sleep(LEAVING);
        }
    }
}

/// Waits for what [`close`] began: the last thing a process does, for the library must not be at work when the process
/// takes its memory down.
pub fn finish_closing() {
    let closing = std::mem::take(&mut *CLOSING.lock().unwrap_or_else(PoisonError::into_inner));
    for handle in closing {
        // A panic on that thread has been printed, and there is nothing left to do for it.
        let _ = handle.join();
    }
}
