//! The connection phase: greeting, TLS, the proof of the password (MySQL's protocol documentation, "Connection Phase").
//! Methods: `caching_sha2_password` and `mysql_native_password`, as of the driver that the other connections use.
//!
//! Invariant: over a connection that is not encrypted no password goes, but under the server's public key; and nothing that came
//! in plain text counts as said under TLS.

use super::wire::{Wire, unexpected};
use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Error};
use mysql_common::constants::UTF8MB4_GENERAL_CI;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use openssl::rsa::{Padding, Rsa};
use tokio_native_tls::TlsConnector;

const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const SWITCH: u8 = 0xfe;
/// What `caching_sha2_password` says in more data: the password was known, or it is to be sent whole.
const KNOWN: u8 = 0x03;
const SEND_PASSWORD: u8 = 0x04;
/// Asks for the server's public key.
const PUBLIC_KEY: u8 = 0x02;
/// Bytes of what is mixed with the password, without the zero at its end.
const NONCE_BYTES: usize = 20;

/// Who connects.
pub(super) struct Account<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    /// Where to, and what the certificate must name.
    pub(super) host: &'a str,
    pub(super) tls: Option<&'a TlsConnector>,
    pub(super) max_packet_bytes: u32,
}

/// A method, by what this client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    CachingSha2,
    Native,
}

impl Method {
    const fn plugin(self) -> AuthPlugin<'static> {
        match self {
            Self::CachingSha2 => AuthPlugin::CachingSha2Password,
            Self::Native => AuthPlugin::MysqlNativePassword,
        }
    }

    /// The method that the server asks for in place of its first.
    fn asked(plugin: &AuthPlugin<'_>) -> Result<Self, DriverError> {
        match plugin {
            AuthPlugin::CachingSha2Password => Ok(Self::CachingSha2),
            AuthPlugin::MysqlNativePassword => Ok(Self::Native),
            AuthPlugin::MysqlOldPassword => Err(DriverError::MysqlOldPasswordDisabled),
            AuthPlugin::MysqlClearPassword => Err(DriverError::CleartextPluginDisabled),
            other => Err(DriverError::UnknownAuthPlugin {
                name: String::from_utf8_lossy(other.as_bytes()).into_owned(),
            }),
        }
    }

    /// The answer to a nonce; empty for an empty password.
    fn answer(self, password: &str, nonce: &[u8]) -> Vec<u8> {
        self.plugin().gen_data(Some(password), nonce).map(|data| data.to_vec()).unwrap_or_default()
    }
}

/// Logs in on a new connection.
pub(super) async fn login(wire: &mut Wire, account: &Account<'_>) -> Result<(), Error> {
    let greeting = wire.read().await?;
    let greeting: HandshakePacket<'_> = ParseBuf(&greeting).parse(()).map_err(|_| unexpected())?;
    let mut nonce = greeting.scramble_1_ref().to_vec();
    nonce.extend_from_slice(greeting.scramble_2_ref().unwrap_or_default());
    nonce.resize(NONCE_BYTES, 0);
    let mut wanted = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH;
    if account.tls.is_some() {
        wanted |= CapabilityFlags::CLIENT_SSL;
    }
    let capabilities = greeting.capabilities() & wanted;
    if let Some(connector) = account.tls {
        if !capabilities.contains(CapabilityFlags::CLIENT_SSL) {
            return Err(DriverError::NoClientSslFlagFromServer.into());
        }
        let collation = u8::try_from(UTF8MB4_GENERAL_CI).unwrap_or_default();
        wire.write_struct(&SslRequest::new(capabilities, account.max_packet_bytes, collation)).await?;
        wire.encrypt(connector, account.host).await?;
    }
    let method = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => Method::CachingSha2,
        _ => Method::Native,
    };
    let answer = method.answer(account.password, &nonce);
    let response = HandshakeResponse::new(
        Some(answer.as_slice()),
        greeting.server_version_parsed().unwrap_or((8, 0, 0)),
        Some(account.user.as_bytes()),
        None::<&[u8]>,
        Some(method.plugin()),
        capabilities,
        None,
        account.max_packet_bytes,
    );
    wire.write_struct(&response).await?;
    prove(wire, account, method, nonce).await
}

/// Goes on until the server is content.
async fn prove(
    wire: &mut Wire,
    account: &Account<'_>,
    mut method: Method,
    mut nonce: Vec<u8>,
) -> Result<(), Error> {
    let mut switched = false;
    loop {
        let packet = wire.read().await?;
        match (packet.as_slice(), method) {
            ([OK, ..], _) => return Ok(()),
            // A server that wants the method of before 4.1 names none.
            ([SWITCH], _) => return Err(DriverError::MysqlOldPasswordDisabled.into()),
            ([SWITCH, ..], _) if !switched => {
                switched = true;
                let request: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(()).map_err(|_| unexpected())?;
                method = Method::asked(&request.auth_plugin())?;
                nonce = request.plugin_data().to_vec();
                wire.write(&method.answer(account.password, &nonce)).await?;
            }
            ([MORE_DATA, KNOWN], Method::CachingSha2) => {}
            ([MORE_DATA, SEND_PASSWORD], Method::CachingSha2) => {
                send_password(wire, account.password, &nonce).await?;
            }
            _ => return Err(unexpected()),
        }
    }
}

/// `caching_sha2_password` does not know the password yet: it is sent whole.
async fn send_password(wire: &mut Wire, password: &str, nonce: &[u8]) -> Result<(), Error> {
    let mut bytes = password.as_bytes().to_vec();
    bytes.push(0);
    if wire.transport.is_encrypted() {
        return wire.write(&bytes).await;
    }
    wire.write(&[PUBLIC_KEY]).await?;
    let packet = wire.read().await?;
    let key = packet.strip_prefix(&[MORE_DATA]).ok_or_else(unexpected)?;
    for (byte, mixed) in bytes.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mixed;
    }
    let encrypted = encrypt(&bytes, key).map_err(|error| Error::Other(error.into()))?;
    wire.write(&encrypted).await
}

fn encrypt(bytes: &[u8], key: &[u8]) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    let key = Rsa::public_key_from_pem(key)?;
    let mut encrypted = vec![0; usize::try_from(key.size()).unwrap_or_default()];
    let length = key.public_encrypt(bytes, &mut encrypted, Padding::PKCS1_OAEP)?;
    encrypted.truncate(length);
    Ok(encrypted)
}

#[cfg(test)]
mod tests {
    use super::super::frames;
    use super::super::transport::Transport;
    use super::*;
    use openssl::sha::sha1;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;
    use tributary_config::{TlsConfig, TlsMode};
    use tributary_service::tls::connector;

    const FIRST: &[u8; NONCE_BYTES] = b"abcdefghijklmnopqrst";
    const SECOND: &[u8; NONCE_BYTES] = b"ABCDEFGHIJKLMNOPQRST";

    fn send(socket: &mut TcpStream, packet: &[u8], mut number: u8) {
        let mut out = Vec::new();
        frames::write(packet, &mut number, &mut out);
        socket.write_all(&out).unwrap();
    }

    /// A packet; empty once the client is gone.
    fn receive(socket: &mut TcpStream) -> Vec<u8> {
        let mut header = [0; 4];
        if socket.read_exact(&mut header).is_err() {
            return Vec::new();
        }
        let mut packet = vec![0; usize::from(header[0]) | usize::from(header[1]) << 8];
        socket.read_exact(&mut packet).unwrap();
        packet
    }

    /// What a server of before 8.0 greets with.
    fn greeting(method: &str) -> Vec<u8> {
        let (first, second) = FIRST.split_at(8);
        [
            &[10][..],
            b"5.7.44\0",
            &[1, 0, 0, 0],
            first,
            &[0, 0x00, 0x82, 45, 2, 0, 0x08, 0x00, 21],
            &[0; 10],
            second,
            &[0],
            method.as_bytes(),
            &[0],
        ]
        .concat()
    }

    fn switch(method: &str) -> Vec<u8> {
        [&[SWITCH][..], method.as_bytes(), &[0], SECOND, &[0]].concat()
    }

    /// `mysql_native_password` (MySQL's protocol documentation, "Native Authentication").
    fn native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
        let once = sha1(password);
        let twice = sha1(&once);
        let mixed = sha1(&[nonce, &twice[..]].concat());
        once.iter().zip(mixed).map(|(left, right)| left ^ right).collect()
    }

    /// Logs in at a server that greets with `greeting` and says each of `answers` to what comes; what came.
    async fn meet(greeting: Vec<u8>, answers: Vec<Vec<u8>>) -> (Result<(), Error>, Vec<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            send(&mut socket, &greeting, 0);
            let mut received = vec![receive(&mut socket)];
            for (answer, number) in answers.iter().zip([2, 4]) {
                send(&mut socket, answer, number);
                received.push(receive(&mut socket));
            }
            received
        });
        let transport = Transport::connect("127.0.0.1", port, Duration::from_secs(30)).await.unwrap();
        let mut wire = Wire::new(transport, 1 << 24);
        let account = Account {
            user: "u",
            password: "secret",
            host: "127.0.0.1",
            tls: None,
            max_packet_bytes: 1 << 24,
        };
        let done = login(&mut wire, &account).await;
        drop(wire);
        (done, server.join().unwrap())
    }

    const OK_PACKET: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];

    #[tokio::test]
    async fn the_native_method_at_once_and_in_place_of_another() {
        let (done, received) = meet(greeting("mysql_native_password"), vec![OK_PACKET.to_vec()]).await;
        done.unwrap();
        // Behind 32 fixed bytes: the user, then the proof behind its length.
        let expected = [&b"u\0\x14"[..], &native(b"secret", FIRST), b"mysql_native_password\0"].concat();
        assert_eq!(received[0][32..], expected);
        let answers = vec![switch("mysql_native_password"), OK_PACKET.to_vec()];
        let (done, received) = meet(greeting("caching_sha2_password"), answers).await;
        done.unwrap();
        assert_eq!(received[1], native(b"secret", SECOND));
    }

    #[tokio::test]
    async fn a_password_is_not_sent_as_the_server_likes() {
        let refused = |error: &Error, method: &str| match error {
            Error::Driver(DriverError::CleartextPluginDisabled) => method == "mysql_clear_password",
            Error::Driver(DriverError::MysqlOldPasswordDisabled) => method == "mysql_old_password",
            Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
                method == "sha256_password" && name == method
            }
            _ => false,
        };
        for method in ["mysql_clear_password", "mysql_old_password", "sha256_password"] {
            let (done, received) = meet(greeting("mysql_native_password"), vec![switch(method)]).await;
            let error = done.unwrap_err();
            assert!(refused(&error, method), "{method}: {error}");
            assert_eq!(received[1], b"", "{method}");
        }
        let (done, received) = meet(greeting("mysql_native_password"), vec![vec![SWITCH]]).await;
        assert!(matches!(done.unwrap_err(), Error::Driver(DriverError::MysqlOldPasswordDisabled)));
        assert_eq!(received[1], b"");
    }

    /// Whoever sits between could say that the server is content, before the server has been asked who it is.
    #[tokio::test]
    async fn what_came_in_plain_text_is_no_part_of_the_encrypted_session() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut greeting = greeting("mysql_native_password");
            // The second byte of what the server can do: TLS as well.
            let capabilities = 1 + b"5.7.44\0".len() + 4 + 8 + 1;
            greeting[capabilities + 1] |= 0x08;
            let mut both = Vec::new();
            frames::write(&greeting, &mut 0, &mut both);
            frames::write(&OK_PACKET, &mut 3, &mut both);
            socket.write_all(&both).unwrap();
            receive(&mut socket)
        });
        let transport = Transport::connect("127.0.0.1", port, Duration::from_secs(30)).await.unwrap();
        let mut wire = Wire::new(transport, 1 << 24);
        let connector =
            connector(&TlsConfig { mode: TlsMode::Require, ..TlsConfig::default() }).unwrap().unwrap().into();
        let account = Account {
            user: "u",
            password: "secret",
            host: "127.0.0.1",
            tls: Some(&connector),
            max_packet_bytes: 1 << 24,
        };
        let error = login(&mut wire, &account).await.unwrap_err().to_string();
        assert!(error.contains("plain text"), "{error}");
        drop(wire);
        assert_eq!(server.join().unwrap().len(), 32, "no user and no proof was sent");
    }

    #[tokio::test]
    async fn a_refusal_is_said_in_the_servers_words() {
        let refused = [&[0xff, 0x15, 0x04][..], b"#28000Access denied"].concat();
        let (done, _) = meet(greeting("mysql_native_password"), vec![refused]).await;
        let Error::Server(error) = done.unwrap_err() else { panic!("another error") };
        assert_eq!(
            (error.code, error.message.as_str(), error.state.as_str()),
            (1045, "Access denied", "28000")
        );
        // Before the client has said what it understands there is no state.
        let full = [&[0xff, 0x10, 0x04][..], b"Too many connections"].concat();
        let (done, _) = meet(full, vec![]).await;
        let Error::Server(error) = done.unwrap_err() else { panic!("another error") };
        assert_eq!((error.code, error.message.as_str()), (1040, "Too many connections"));
    }
}
