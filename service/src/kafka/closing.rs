//! Consumers that a start needs for a moment each. A consumer enters, and is closed on a thread of its own: the client
//! takes a tenth of a second for it, and a start would wait for that eight times over.

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

static CLOSING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Closes a consumer beside everything else; [`finish_closing`] waits for it. Without a thread to do it, at once.
pub fn close<C: ConsumerContext + 'static>(consumer: BaseConsumer<C>) {
    let thread = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || drop(consumer));
    if let Ok(handle) = thread {
        let mut closing = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
        closing.retain(|handle| !handle.is_finished());
        closing.push(handle);
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
