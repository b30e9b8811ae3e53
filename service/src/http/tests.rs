use super::*;
use crate::Service;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary_schemas::history::SchemaRecord;

struct Reply {
    code: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Reply { code: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
}

async fn started() -> (Server, Status) {
    let status = Status::new("shop", Service::Capture);
    let registry = Registry::default();
    for (subject, version, id) in [("shop.a.b-key", 1, 1), ("shop.a.b-value", 1, 2), ("shop.a.b-value", 2, 3)]
    {
        let schema = format!("{{\"type\":\"record\",\"name\":\"V{version}\",\"fields\":[]}}");
        registry.insert(SchemaRecord { subject: subject.into(), version, id, schema, deleted: false });
    }
    (serve("127.0.0.1:0", status.clone(), registry).await.unwrap(), status)
}

#[tokio::test]
async fn people_probes_and_prometheus_are_answered() {
    let (server, status) = started().await;
    let page = request(server.address, "GET", "/", "").await;
    assert!(page.code == 200 && page.body.contains("<!doctype html>") && page.head.contains("text/html"));
    assert!(
        !page.body.contains("http://") && !page.body.contains("https://"),
        "nothing comes from elsewhere"
    );
    assert_eq!(request(server.address, "GET", "/healthz", "").await.code, 200);
    assert_eq!(request(server.address, "GET", "/readyz", "").await.code, 503);
    status.set_role(Role::Standby);
    assert_eq!(request(server.address, "GET", "/readyz", "").await.code, 200);
    status.set_state(State::Synchronizing);
    status.set_role(Role::Leader);
    assert_eq!(request(server.address, "GET", "/readyz", "").await.body, "synchronizing (leader)\n");
    let answer = request(server.address, "GET", "/status", "").await;
    assert_eq!(answer.json()["state"], "synchronizing");
    assert!(request(server.address, "GET", "/metrics", "").await.body.contains("\ntributary_leader{"));
    status.watch("shop", std::time::Duration::ZERO);
    status.heard("shop", std::time::Instant::now(), None);
    let silent = request(server.address, "GET", "/readyz", "").await;
    assert_eq!(
        (silent.code, silent.body.as_str()),
        (503, "catching-up (leader): source was heard 0 s ago\n")
    );
    let metrics = request(server.address, "GET", "/metrics", "").await.body;
    assert!(metrics.contains("\ntributary_last_contact_seconds{"), "{metrics}");
    status.retrying("kafka", "down");
    assert_eq!(request(server.address, "GET", "/readyz", "").await.code, 503);
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_what_to_do() {
    let (server, status) = started().await;
    let listen = server.address.to_string();
    let failure = serve(&listen, status, Registry::default()).await.unwrap_err();
    assert_eq!(failure.exit.code(), 1);
    assert!(failure.place == listen && failure.remedy.contains("--listen"), "{failure}");
    server.stop().await;
    assert!(TcpStream::connect(&listen).await.is_err(), "a stopped server has let the port go");
}

#[tokio::test]
async fn the_registry_reads_as_confluents_does() {
    let (server, _) = started().await;
    let get = async |path: &str| request(server.address, "GET", path, "").await;
    assert_eq!(get("/subjects").await.json(), serde_json::json!(["shop.a.b-key", "shop.a.b-value"]));
    assert_eq!(get("/subjects/shop.a.b-value/versions").await.json(), serde_json::json!([1, 2]));
    let latest = get("/subjects/shop.a.b-value/versions/latest").await;
    assert!(latest.head.contains("application/vnd.schemaregistry.v1+json"));
    assert_eq!(latest.json(), get("/subjects/shop.a.b-value/versions/2").await.json());
    assert_eq!((&latest.json()["id"], &latest.json()["version"]), (&3.into(), &2.into()));
    let schema = get("/schemas/ids/3").await.json()["schema"].clone();
    assert_eq!(schema, latest.json()["schema"]);
    assert_eq!(get("/schemas/ids/3/schema").await.body, schema.as_str().unwrap());
    assert_eq!(
        get("/schemas/ids/3/versions").await.json(),
        serde_json::json!([{"subject": "shop.a.b-value", "version": 2}])
    );
    assert_eq!(get("/schemas/ids/1/subjects").await.json(), serde_json::json!(["shop.a.b-key"]));
    assert_eq!(get("/schemas/types").await.json(), serde_json::json!(["AVRO"]));
    assert_eq!(get("/config").await.json()["compatibilityLevel"], "NONE");
    assert_eq!(get("/mode").await.json()["mode"], "READONLY");
    server.stop().await;
}

#[tokio::test]
async fn the_registry_refuses_as_confluents_does() {
    let (server, _) = started().await;
    for (method, path, status, code) in [
        ("GET", "/subjects/x/versions", 404, 40401),
        ("GET", "/subjects/x/versions/1", 404, 40401),
        ("GET", "/subjects/shop.a.b-value/versions/3", 404, 40402),
        ("GET", "/subjects/shop.a.b-value/versions/0", 422, 42202),
        ("GET", "/schemas/ids/99", 404, 40403),
        ("GET", "/schemas/ids/x/versions", 404, 40403),
        ("POST", "/subjects/shop.a.b-value/versions", 422, 42205),
        ("PUT", "/config", 422, 42205),
        ("DELETE", "/subjects/shop.a.b-value", 422, 42205),
        ("POST", "/subjects/x", 404, 40401),
        ("POST", "/subjects/shop.a.b-value", 422, 42201),
        ("GET", "/nothing", 404, 404),
    ] {
        let answer = request(server.address, method, path, "").await;
        assert_eq!((answer.code, &answer.json()["error_code"]), (status, &code.into()), "{method} {path}");
        assert!(answer.json()["message"].is_string());
    }
    let known = r#"{"schema": "{ \"name\": \"V2\", \"type\": \"record\", \"fields\": [] }"}"#;
    let found = request(server.address, "POST", "/subjects/shop.a.b-value", known).await;
    assert_eq!((found.code, &found.json()["id"]), (200, &3.into()));
    let unknown = r#"{"schema": "\"string\""}"#;
    let missing = request(server.address, "POST", "/subjects/shop.a.b-value", unknown).await;
    assert_eq!((missing.code, &missing.json()["error_code"]), (404, &40403.into()));
    server.stop().await;
}

/// Files that this process has open.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn slow_clients_take_no_more_than_their_share_and_keep_nobody_waiting() {
    let status = Status::new("shop", Service::Capture);
    let limits = Limits { connections: 8, head: Duration::from_secs(600), age: Duration::from_secs(600) };
    let server = serve_within(limits, "127.0.0.1:0", status, Registry::default()).await.unwrap();
    let before = open_files();
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // Some say nothing, some never come to the end of what they say.
        if number % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        }
        slow.push(stream);
    }
    assert_eq!(request(server.address, "GET", "/healthz", "").await.code, 200);
    // Each client has one descriptor on this side; what is left are the server's.
    let mut ended = 0;
    for stream in &mut slow[..80] {
        let mut byte = [0];
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut byte)).await;
        ended += usize::from(!matches!(end.unwrap(), Ok(count) if count > 0));
    }
    assert_eq!(ended, 80, "the oldest gave way");
    assert!(
        open_files() <= before + slow.len() + limits.connections + 20,
        "other tests of this process have some"
    );
    server.stop().await;
}

#[tokio::test]
async fn what_says_nothing_is_closed_and_what_talks_for_ever_ends_behind_an_answer() {
    let status = Status::new("shop", Service::Capture);
    let limits = Limits { connections: 8, head: Duration::from_millis(50), age: Duration::from_millis(200) };
    let server = serve_within(limits, "127.0.0.1:0", status, Registry::default()).await.unwrap();
    let ends = async |mut stream: TcpStream, text: &[u8], again: bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut buffer = [0; 4096];
        stream.write_all(text).await.unwrap();
        while Instant::now() < deadline {
            match tokio::time::timeout(Duration::from_millis(20), stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return true,
                _ if again && stream.write_all(text).await.is_err() => return true,
                _ => {}
            }
        }
        false
    };
    let connect = async || TcpStream::connect(server.address).await.unwrap();
    assert!(ends(connect().await, b"", false).await, "silent");
    assert!(ends(connect().await, b"GET /healthz HTTP/1.1\r\nHo", false).await, "half a head");
    assert!(ends(connect().await, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", true).await, "talks for ever");
    server.stop().await;
}

#[test]
fn the_share_follows_the_limit_of_the_process() {
    let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                Max open files            256                  4096                 files     \n";
    assert_eq!(descriptors(text), Some(256));
    assert_eq!(
        descriptors("Max open files            unlimited            unlimited            files"),
        None
    );
    let connections = |descriptors| Limits::of_process(descriptors).connections;
    assert_eq!(
        (connections(None), connections(Some(256)), connections(Some(8)), connections(Some(1 << 20))),
        (64, 32, 4, 64)
    );
}
