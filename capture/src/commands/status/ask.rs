//! The status of the running instance, if it is this task's capture.

use tributary_service::ask::fetch;
use tributary_service::load::Service;

/// The document of the instance that listens on `listen`, or why there is none. A different task that listens there
/// is not answered for.
pub(super) async fn ask(listen: &str, task: &str) -> Result<serde_json::Value, String> {
    let (address, document) = fetch(listen, Service::Capture).await?;
    match document.get("task").and_then(serde_json::Value::as_str) {
        Some(other) if other != task => Err(format!("{address} is another task, {other}")),
        _ if document.get("service").and_then(serde_json::Value::as_str) != Some("capture") => {
            Err(format!("{address} is another service"))
        }
        _ => Ok(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
}
