//! A way to Kafka on which answers about the cluster can be made to name no broker, as a cluster gives them for a moment
//! while its brokers start or wake up. Everything else goes through as it is.

use crate::proxy::{Change, Changes, Proxy};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The request that asks about the cluster.
const METADATA: i16 = 3;
/// Versions of it from which on the answer begins with a time, and from which on it is in the flexible format.
const WITH_THROTTLE: i16 = 3;
const FLEXIBLE: i16 = 9;

/// The proxy; it ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct KafkaProxy {
    proxy: Proxy,
    answers: Arc<Answers>,
}

/// What becomes of answers about the cluster.
#[derive(Debug, Default)]
struct Answers {
    empties: AtomicBool,
    emptied: AtomicU64,
}

impl KafkaProxy {
    /// Listens on a free port, which `broker` is given; it says at which port of this machine the broker is.
    ///
    /// # Panics
    /// If there is no port or no thread.
    #[must_use]
    pub fn start_behind(broker: impl FnOnce(u16) -> u16) -> Self {
        let answers = Arc::<Answers>::default();
        let changing = Arc::clone(&answers);
        let changes: Changes = Box::new(move || of_connection(&changing));
        Self { proxy: Proxy::start_changing(broker, Some(changes)), answers }
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// Whether answers about the cluster name no broker from now on.
    pub fn name_no_broker(&self, empties: bool) {
        self.answers.empties.store(empties, Ordering::Relaxed);
    }

    /// Answers that were changed.
    #[must_use]
    pub fn emptied(&self) -> u64 {
        self.answers.emptied.load(Ordering::Relaxed)
    }
}

/// What one connection's client and broker say.
fn of_connection(answers: &Arc<Answers>) -> (Change, Change) {
    // The versions of questions about the cluster that are not answered yet, by their correlation ids.
    let asked: Arc<Mutex<HashMap<i32, i16>>> = Arc::default();
    let (questions, answers) = (Arc::clone(&asked), Arc::clone(answers));
    let of_client = message_by_message(move |request| {
        if number(request, 0) == Some(METADATA)
            && let (Some(version), Some(id)) = (number(request, 2), correlation(request, 4))
        {
            locked(&questions).insert(id, version);
        }
        None
    });
    let of_broker = message_by_message(move |answer| {
        let version = locked(&asked).remove(&correlation(answer, 0)?)?;
        if !answers.empties.load(Ordering::Relaxed) {
            return None;
        }
        answers.emptied.fetch_add(1, Ordering::Relaxed);
        without_brokers(version, answer)
    });
    (of_client, of_broker)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes whole messages on; `change` may give another in place of one.
fn message_by_message(mut change: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Change {
    let mut held = Vec::new();
    Box::new(move |piece| {
        held.extend_from_slice(piece);
        let mut passed = Vec::new();
        while let Some(size) = correlation(&held, 0).and_then(|size| usize::try_from(size).ok())
            && held.len() >= size + 4
        {
            let message: Vec<u8> = held.drain(..size + 4).skip(4).collect();
            let message = change(&message).unwrap_or(message);
            passed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
            passed.extend_from_slice(&message);
        }
        passed
    })
}

fn number(message: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn correlation(message: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
}

/// What is left of a message.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..28).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= usize::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self, flexible: bool) -> Option<()> {
        let length = if flexible {
            self.varint()?.saturating_sub(1)
        } else {
            let length = number(self.0, 0)?;
            self.skip(2)?;
            // A negative one stands for no text.
            usize::try_from(length).unwrap_or(0)
        };
        self.skip(length)
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size)?;
        }
        Some(())
    }
}

/// The answer of this version to a question about the cluster, without its brokers.
fn without_brokers(version: i16, answer: &[u8]) -> Option<Vec<u8>> {
    let flexible = version >= FLEXIBLE;
    let mut rest = Rest(answer);
    rest.skip(4)?;
    if flexible {
        rest.tags()?;
    }
    if version >= WITH_THROTTLE {
        rest.skip(4)?;
    }
    let before = answer.len() - rest.0.len();
    let brokers = if flexible {
        rest.varint()?.saturating_sub(1)
    } else {
        let count = correlation(rest.0, 0)?;
        rest.skip(4)?;
        usize::try_from(count).ok()?
    };
    for _ in 0..brokers {
        rest.skip(4)?;
        rest.text(flexible)?;
        rest.skip(4)?;
        if version >= 1 {
            rest.text(flexible)?;
        }
        if flexible {
            rest.tags()?;
        }
    }
    let none: &[u8] = if flexible { &[1] } else { &[0; 4] };
    Some([answer.get(..before)?, none, rest.0].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_however_they_come() {
        let change = message_by_message(|message| (message == b"two").then(|| b"second".to_vec()));
        let said = [&[0, 0, 0, 3], b"one".as_slice(), &[0, 0, 0, 3], b"two"].concat();
        let passed: Vec<u8> = said.chunks(5).flat_map(change).collect();
        assert_eq!(passed, [&[0, 0, 0, 3], b"one".as_slice(), &[0, 0, 0, 6], b"second"].concat());
    }

    #[test]
    fn brokers_are_taken_out_of_answers_of_each_format() {
        let (id, throttle, node, port) = ([0, 0, 0, 7], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 35, 132]);
        let (rest, old_text) = (b"the rest", [0, 4, b'h', b'o', b's', b't']);
        let brokers = [&[0, 0, 0, 1], node.as_slice(), &old_text, &port, &[0xff, 0xff]].concat();
        let old = |brokers: &[u8]| [id.as_slice(), brokers, rest].concat();
        assert_eq!(without_brokers(1, &old(&brokers)), Some(old(&[0, 0, 0, 0])));
        let text = [5, b'h', b'o', b's', b't'];
        let brokers = [&[2], node.as_slice(), &text, &port, &[0], &[1, 0, 2, 9, 9]].concat();
        let new = |brokers: &[u8]| [id.as_slice(), &[0], &throttle, brokers, rest].concat();
        assert_eq!(without_brokers(12, &new(&brokers)), Some(new(&[1])));
        assert_eq!(without_brokers(12, &new(&brokers)[..15]), None);
    }
}
