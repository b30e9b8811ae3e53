//! A way to Kafka on which answers about the cluster can be made to name no broker, as a cluster gives them for a moment
//! while its brokers start or wake up. Everything else goes through as it is.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The request that asks about the cluster.
const METADATA: i16 = 3;
/// Versions of it from which on the answer begins with a time, and from which on it is in the flexible format.
const WITH_THROTTLE: i16 = 3;
const FLEXIBLE: i16 = 9;

/// The proxy; it runs as long as the test does.
#[derive(Debug, Clone)]
pub struct KafkaProxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    target: Mutex<Option<String>>,
    empties: AtomicBool,
    emptied: AtomicU64,
}

impl KafkaProxy {
    /// Listens on a free port. Nothing goes through before [`KafkaProxy::forward_to`].
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (target, empties, emptied) = (Mutex::default(), AtomicBool::new(false), AtomicU64::new(0));
        let proxy = Self(Arc::new(Inner { port, target, empties, emptied }));
        let accepting = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = locked(&accepting.0.target).clone();
                // Without a broker the client's connection is closed.
                if let Some(broker) = target.and_then(|target| TcpStream::connect(target).ok()) {
                    accepting.carry(&client, &broker);
                }
            }
        });
        proxy
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// From now on connections go to the broker at `address`.
    pub fn forward_to(&self, address: &str) {
        *locked(&self.0.target) = Some(address.to_owned());
    }

    /// Whether answers about the cluster name no broker from now on.
    pub fn name_no_broker(&self, empties: bool) {
        self.0.empties.store(empties, Ordering::Relaxed);
    }

    /// Answers that were changed.
    #[must_use]
    pub fn emptied(&self) -> u64 {
        self.0.emptied.load(Ordering::Relaxed)
    }

    fn carry(&self, client: &TcpStream, broker: &TcpStream) {
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        // The versions of questions about the cluster that are not answered yet, by their correlation ids.
        let asked: Arc<Mutex<HashMap<i32, i16>>> = Arc::default();
        let questions = Arc::clone(&asked);
        let (from, to) = (clone(client), clone(broker));
        std::thread::spawn(move || {
            pass(from, to, |request| {
                if number(request, 0) == Some(METADATA)
                    && let (Some(version), Some(id)) = (number(request, 2), correlation(request, 4))
                {
                    locked(&questions).insert(id, version);
                }
                None
            });
        });
        let (from, to, proxy) = (clone(broker), clone(client), self.clone());
        std::thread::spawn(move || {
            pass(from, to, |answer| {
                let version = locked(&asked).remove(&correlation(answer, 0)?)?;
                if !proxy.0.empties.load(Ordering::Relaxed) {
                    return None;
                }
                proxy.0.emptied.fetch_add(1, Ordering::Relaxed);
                without_brokers(version, answer)
            });
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes messages on until one side closes; `change` may give another in place of one.
fn pass(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut next = || -> std::io::Result<()> {
        let mut size = [0; 4];
        from.read_exact(&mut size)?;
        let mut message = vec![0; u32::from_be_bytes(size) as usize];
        from.read_exact(&mut message)?;
        let message = change(&message).unwrap_or(message);
        let size = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        to.write_all(&[size.as_slice(), &message].concat())
    };
    while next().is_ok() {}
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
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
