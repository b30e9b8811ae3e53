//! One GET of the `/status` of a running instance. HTTP/1.0, so that the answer is neither chunked nor kept open; a client
//! library would be the larger part of the binaries for it.

use crate::load::Service;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the instance has to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// More than the status of any number of tables.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The status of what listens on `listen`, with its address; or why there is none. Whether it is the task and the
/// service that were meant is for the caller to see; `service` is only named in the error.
///
/// # Errors
/// What to tell a person.
pub async fn fetch(listen: &str, service: Service) -> Result<(SocketAddr, serde_json::Value), String> {
    let address = reachable(listen)?;
    let body = match tokio::time::timeout(LIMIT, get(address)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(format!("{address}: {error}")),
        Err(_) => return Err(format!("{address}: no answer within {} s", LIMIT.as_secs())),
    };
    let document = parse(&body)
        .ok_or_else(|| format!("{address}: something else than {} answers there", service.name()))?;
    Ok((address, document))
}

/// An address to listen on may be every address, which is none to connect to.
fn reachable(listen: &str) -> Result<SocketAddr, String> {
    let mut address: SocketAddr = listen.parse().map_err(|_| format!("{listen:?} is no address"))?;
    if address.port() == 0 {
        return Err(format!("{listen} leaves the port to the system"));
    }
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

async fn get(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The JSON behind the head of a successful answer.
fn parse(answer: &[u8]) -> Option<serde_json::Value> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(head)?;
    let status = head.split(|byte| *byte == b' ').nth(1)?;
    if status != b"200" {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_successful_answer_is_read() {
        assert!(parse(b"HTTP/1.0 200 OK\r\nx: y\r\n\r\n{\"task\":\"t\"}").is_some());
        assert!(parse(b"HTTP/1.0 404 Not Found\r\n\r\n{}").is_none());
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_none());
    }

    #[test]
    fn every_address_becomes_one_that_can_be_reached() {
        assert_eq!(reachable("0.0.0.0:81").unwrap().to_string(), "127.0.0.1:81");
        assert_eq!(reachable("[::]:81").unwrap().to_string(), "[::1]:81");
        assert_eq!(reachable("10.0.0.1:81").unwrap().to_string(), "10.0.0.1:81");
        assert!(reachable("127.0.0.1:0").is_err());
    }
}
