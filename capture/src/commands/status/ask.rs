//! One GET of `/status`. HTTP/1.0, so that the answer is neither chunked nor kept open; a client library would be the
//! larger part of this binary for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the instance has to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// More than the status of any number of tables.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The document of the instance that listens on `listen`, or why there is none. A different task that listens there
/// is not answered for.
pub async fn ask(listen: &str, task: &str) -> Result<serde_json::Value, String> {
    let address = reachable(listen)?;
    let body = match tokio::time::timeout(LIMIT, get(address)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(format!("{address}: {error}")),
        Err(_) => return Err(format!("{address}: no answer within {} s", LIMIT.as_secs())),
    };
    let document =
        parse(&body).ok_or_else(|| format!("{address}: something else than capture answers there"))?;
    match document.get("task").and_then(serde_json::Value::as_str) {
        Some(other) if other != task => Err(format!("{address} is another task, {other}")),
        _ if document.get("service").and_then(serde_json::Value::as_str) != Some("capture") => {
            Err(format!("{address} is another service"))
        }
        _ => Ok(document),
    }
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
    use tokio::net::TcpListener;

    /// Answers one request with `answer`.
    async fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
        let good = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"task\":\"shop\",\"service\":\"capture\"}";
        assert_eq!(ask(&serve(good).await, "shop").await.unwrap()["task"], "shop");
        assert!(ask(&serve(good).await, "crm").await.unwrap_err().contains("another task, shop"));
        let apply = "HTTP/1.0 200 OK\r\n\r\n{\"task\":\"shop\",\"service\":\"apply\"}";
        assert!(ask(&serve(apply).await, "shop").await.unwrap_err().contains("another service"));
        for foreign in ["HTTP/1.0 404 Not Found\r\n\r\n{}", "SSH-2.0-OpenSSH_9.2\r\n"] {
            assert!(ask(&serve(foreign).await, "shop").await.unwrap_err().contains("something else"));
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
