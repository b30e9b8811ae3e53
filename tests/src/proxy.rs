//! A line that can go silent: a TCP proxy that accepts and forwards nothing, with every connection open on both sides. So
//! behave a firewall that forgets its connections, a balancer that hangs, a network that drops. Whoever knows the protocol
//! can also have it change what passes ([`crate::kafka_proxy`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;

/// What the line does.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    silent: bool,
    /// Connections before this number are silent for ever.
    forgotten: u64,
}

impl Line {
    const fn carries(self, number: u64) -> bool {
        !self.silent && number >= self.forgotten
    }
}

/// Gives what is passed on in place of a piece that one side has said; it may hold a part back until more comes.
pub type Change = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// Makes the changes of one connection: of what the client says, and of what the server says.
pub type Changes = Box<dyn Fn() -> (Change, Change) + Send>;

/// A proxy before one address. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    line: watch::Sender<Line>,
    accepted: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a port of its own, and forwards to a port of this machine.
    ///
    /// # Panics
    /// If there is no port or no thread.
    #[must_use]
    pub fn start(target: u16) -> Self {
        Self::start_behind(|_| target)
    }

    /// The same before a server that has to know this port first: `target` is given it, and says where to forward to.
    ///
    /// # Panics
    /// If there is no port or no thread.
    #[must_use]
    pub fn start_behind(target: impl FnOnce(u16) -> u16) -> Self {
        Self::start_changing(target, None)
    }

    /// The same, which passes on what the `changes` give.
    ///
    /// # Panics
    /// If there is no port or no thread.
    #[must_use]
    pub fn start_changing(target: impl FnOnce(u16) -> u16, changes: Option<Changes>) -> Self {
        let (line, watched) = watch::channel(Line::default());
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = listener.local_addr().expect("it has a port").port();
        listener.set_nonblocking(true).expect("it need not block");
        let target = target(port);
        // A thread of its own: a test blocks while it waits for a command.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut ended = watched.clone();
                tokio::select! {
                    () = accept(listener, target, (&watched, &counted), changes.as_ref()) => {}
                    // The sender is gone.
                    _ = async { while ended.changed().await.is_ok() {} } => {}
                }
            });
        });
        Self { port, line, accepted }
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on whoever connects is accepted, and nothing is forwarded.
    pub fn silence(&self) {
        self.line.send_modify(|line| line.silent = true);
    }

    /// Goes on as if nothing had been: what was said meanwhile arrives.
    pub fn go_on(&self) {
        self.line.send_modify(|line| line.silent = false);
    }

    /// Serves new connections only: those that there are stay open, and silent for ever.
    pub fn forget(&self) {
        let forgotten = self.accepted.load(Ordering::SeqCst);
        self.line.send_modify(|line| *line = Line { silent: false, forgotten });
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: u16,
    (line, accepted): (&watch::Receiver<Line>, &AtomicU64),
    changes: Option<&Changes>,
) {
    let listener = TcpListener::from_std(listener).expect("it listens");
    while let Ok((client, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        let line = line.clone();
        let changes = changes.map(|changes| changes());
        tokio::spawn(async move {
            // What breaks on one side is closed on the other.
            let _ = serve(client, target, (number, line), changes).await;
        });
    }
}

async fn serve(
    client: TcpStream,
    target: u16,
    (number, mut line): (u64, watch::Receiver<Line>),
    changes: Option<(Change, Change)>,
) -> std::io::Result<()> {
    carried(&mut line, number).await;
    let server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (there, back) = ((number, line.clone()), (number, line));
    let (of_client, of_server) = changes.unzip();
    tokio::select! {
        ended = carry(from_client, to_server, there, of_client) => ended,
        ended = carry(from_server, to_client, back, of_server) => ended,
    }
}

async fn carry(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    (number, mut line): (u64, watch::Receiver<Line>),
    mut change: Option<Change>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        // What comes while the line is silent is held, an end too.
        carried(&mut line, number).await;
        if read == 0 {
            return Ok(());
        }
        match &mut change {
            Some(change) => to.write_all(&change(&buffer[..read])).await?,
            None => to.write_all(&buffer[..read]).await?,
        }
    }
}

/// Waits until the line carries connection `number`.
async fn carried(line: &mut watch::Receiver<Line>, number: u64) {
    if line.wait_for(|line| line.carries(number)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Duration;

    /// A server that says everything again.
    fn echo() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        port
    }

    fn connect(proxy: &Proxy) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }

    fn says(stream: &mut std::net::TcpStream, word: &[u8]) -> bool {
        stream.write_all(word).unwrap();
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).is_ok() && answer == word
    }

    #[test]
    fn what_passes_can_be_changed() {
        let louder = || -> Change { Box::new(|said| said.to_ascii_uppercase()) };
        let same = || -> Change { Box::new(<[u8]>::to_vec) };
        let server = echo();
        let proxy = Proxy::start_changing(|_| server, Some(Box::new(move || (same(), louder()))));
        let mut stream = connect(&proxy);
        stream.write_all(b"one").unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ONE");
    }

    #[test]
    fn a_silent_line_accepts_and_says_nothing_and_forgets_only_what_there_was() {
        let proxy = Proxy::start(echo());
        let mut before = connect(&proxy);
        assert!(says(&mut before, b"one"));
        proxy.silence();
        let mut meanwhile = connect(&proxy);
        assert!(!says(&mut before, b"two") && !says(&mut meanwhile, b"two"));
        proxy.go_on();
        let mut held = [0; 3];
        before.read_exact(&mut held).unwrap();
        assert_eq!(&held, b"two");
        proxy.silence();
        proxy.forget();
        assert!(!says(&mut before, b"six"));
        assert!(says(&mut connect(&proxy), b"six"));
    }
}
