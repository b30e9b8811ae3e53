//! One GET of the `/status` of a running instance. HTTP/1.0, so that the answer is neither chunked nor kept open; a client
//! library would be the larger part of the binaries for it.

use crate::Service;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the instance has to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// More than the status of any number of tables.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The status of the `service` of `task` that listens on `listen`. Another task or service that listens there is not
/// answered for.
///
/// # Errors
/// What to tell a person.
pub async fn ask(listen: &str, service: Service, task: &str) -> Result<serde_json::Value, String> {
    let (address, document) = fetch(listen, service).await?;
    let is = |key: &str| document.get(key).and_then(serde_json::Value::as_str).unwrap_or("?");
    if is("task") == task && is("service") == service.name() {
        return Ok(document);
    }
    Err(format!("{address} is {} of task {}", is("service"), is("task")))
}

/// The status of whatever listens on `listen`, with its address; `service` is only named in the error.
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

    /// Answers one request with `answer`.
    async fn serve(answer: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /status HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address.to_string()
    }

    #[tokio::test]
    async fn only_the_task_itself_is_believed() {
        let asked = async |answer, task| ask(&serve(answer).await, Service::Capture, task).await;
        let good = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"task\":\"shop\",\"service\":\"capture\"}";
        assert_eq!(asked(good, "shop").await.unwrap()["task"], "shop");
        assert!(asked(good, "crm").await.unwrap_err().contains("is capture of task shop"));
        let apply = "HTTP/1.0 200 OK\r\n\r\n{\"task\":\"shop\",\"service\":\"apply\"}";
        assert!(asked(apply, "shop").await.unwrap_err().contains("is apply of task shop"));
        for foreign in ["HTTP/1.0 404 Not Found\r\n\r\n{}", "SSH-2.0-OpenSSH_9.2\r\n"] {
            assert!(asked(foreign, "shop").await.unwrap_err().contains("something else"));
        }
    }

    #[test]
    fn every_address_becomes_one_that_can_be_reached() {
        assert_eq!(reachable("0.0.0.0:81").unwrap().to_string(), "127.0.0.1:81");
        assert_eq!(reachable("[::]:81").unwrap().to_string(), "[::1]:81");
        assert_eq!(reachable("10.0.0.1:81").unwrap().to_string(), "10.0.0.1:81");
        assert!(reachable("127.0.0.1:0").is_err());
    }
}
