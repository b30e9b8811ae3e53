//! The client of the replication stream: how it logs in, and what the stream gives.

use crate::{config, connect, database, run};
use tributary_config::{Secret, SourceConfig, TlsConfig, TlsMode};
use tributary_source::connect::SourceOptions;
use tributary_source::error::SourceError;
use tributary_source::replication::{DumpRequest, Packet, Replication, ReplicationStream};

async fn open(config: &SourceConfig) -> Result<Replication, SourceError> {
    Replication::open(&SourceOptions::new(config).unwrap()).await
}

fn with_tls(config: &SourceConfig, mode: TlsMode, ca: Option<&str>) -> SourceConfig {
    let ca = ca.map(Into::into);
    SourceConfig { tls: TlsConfig { mode, ca, ..TlsConfig::default() }, ..config.clone() }
}

/// An account of its own, whose password the server has not seen yet: it asks for it whole the first time.
async fn account(name: &str, method: &str) -> SourceConfig {
    let mut root = connect(&config("root")).await.unwrap();
    let password = "a long password; 'quoted', with ünïcödé";
    let quoted = password.replace('\'', "''");
    run(
        &mut root,
        &[
            &format!("DROP USER IF EXISTS '{name}'@'%'"),
            &format!("CREATE USER '{name}'@'%' IDENTIFIED WITH {method} BY '{quoted}'"),
            &format!("GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{name}'@'%'"),
        ],
    )
    .await;
    SourceConfig { user: name.to_owned(), password: Secret::new(password), ..config("reader") }
}

async fn cipher(config: &SourceConfig) -> String {
    let mut session = open(config).await.unwrap();
    let sql =
        "SELECT VARIABLE_VALUE FROM performance_schema.session_status WHERE VARIABLE_NAME = 'Ssl_cipher'";
    session.first("asking", sql).await.unwrap().unwrap()
}

#[tokio::test]
async fn passwords_are_proven_with_and_without_tls() {
    // Sent whole under the public key, then by its hash; the same over TLS, where it is sent as it is.
    let plain = account("replication_plain", "caching_sha2_password").await;
    let encrypted =
        with_tls(&account("replication_tls", "caching_sha2_password").await, TlsMode::Require, None);
    for _ in 0..2 {
        assert_eq!(cipher(&plain).await, "");
        assert_ne!(cipher(&encrypted).await, "");
    }
    for config in [&plain, &encrypted] {
        let wrong = SourceConfig { password: Secret::new("wrong"), ..config.clone() };
        let error = open(&wrong).await.unwrap_err();
        assert!(!error.is_transient() && error.code() == Some(1045), "{error}");
        let none = SourceConfig { password: Secret::new(""), ..config.clone() };
        let error = open(&none).await.unwrap_err();
        assert!(!error.is_transient() && error.code() == Some(1045), "{error}");
    }
    let mut root = connect(&config("root")).await.unwrap();
    run(
        &mut root,
        &["DROP USER 'replication_tls'@'%'", "ALTER USER 'replication_plain'@'%' IDENTIFIED BY ''"],
    )
    .await;
    let empty = SourceConfig { password: Secret::new(""), ..plain };
    assert_eq!(cipher(&empty).await, "");
    run(&mut root, &["DROP USER 'replication_plain'@'%'"]).await;
}

#[tokio::test]
async fn other_methods_are_refused_by_their_name() {
    let mut root = connect(&config("root")).await.unwrap();
    let plugins = root
        .query(
            "asking",
            "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'sha256_password'",
        )
        .await
        .unwrap();
    if !plugins.is_empty() {
        let sha256 = account("replication_sha256", "sha256_password").await;
        let error = open(&sha256).await.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("`sha256_password'"), "{error}");
        assert!(error.to_string().contains("give the account caching_sha2_password"), "{error}");
        run(&mut root, &["DROP USER 'replication_sha256'@'%'"]).await;
    }
    let nobody = SourceConfig { user: "nobody-at-all".into(), ..config("reader") };
    let error = open(&nobody).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("source.user"), "{error}");
}

#[tokio::test]
async fn each_mode_of_tls_demands_what_it_says() {
    let mut root = connect(&config("root")).await.unwrap();
    let folder: Option<String> = root.first("asking", "SELECT @@datadir").await.unwrap();
    let ca = format!("{}/ca.pem", folder.unwrap());
    let reader = config("reader");
    assert_eq!(cipher(&with_tls(&reader, TlsMode::Disable, None)).await, "");
    assert_ne!(cipher(&with_tls(&reader, TlsMode::Require, None)).await, "");
    assert_ne!(cipher(&with_tls(&reader, TlsMode::VerifyCa, Some(&ca))).await, "");
    // Its own authority is not the system's; the certificate does not name the address.
    for config in [
        with_tls(&reader, TlsMode::VerifyCa, None),
        with_tls(&reader, TlsMode::VerifyFull, None),
        with_tls(&reader, TlsMode::VerifyFull, Some(&ca)),
    ] {
        let error = open(&config).await.unwrap_err();
        assert!(!error.is_transient() && error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_told_from_one_that_refuses() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    // It accepts, by its backlog, and says nothing.
    let silent = SourceConfig { port, connect_timeout_ms: 200, ..config("reader") };
    let error = open(&silent).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no answer within 200 ms"), "{error}");
    drop(nobody);
    let error = open(&SourceConfig { port, ..config("reader") }).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

async fn next_event(stream: &mut ReplicationStream) -> Result<Option<Vec<u8>>, SourceError> {
    loop {
        if let Some(frame) = stream.take("reading")? {
            return Ok(match stream.read("reading", &frame)? {
                Packet::Event(event) => Some(event.to_vec()),
                Packet::Skipped(_) => panic!("nothing was to be skipped"),
                Packet::End => None,
            });
        }
        stream.fill("reading").await?;
    }
}

#[tokio::test]
async fn events_of_more_than_sixteen_mebibytes_come_whole() {
    let mut root = database("replication_large").await;
    run(&mut root, &["CREATE TABLE large (id INT PRIMARY KEY, a LONGBLOB)"]).await;
    let status = root.query("asking", "SHOW BINARY LOG STATUS").await.unwrap();
    let (file, offset): (String, u64) = (status[0].get(0).unwrap(), status[0].get(1).unwrap());
    // One of two pieces, one of three, and one that is small again.
    run(
        &mut root,
        &[
            "INSERT INTO large VALUES (1, REPEAT('a', 20000000))",
            "INSERT INTO large VALUES (2, REPEAT('b', 40000000)), (3, 'c')",
        ],
    )
    .await;
    for mode in [TlsMode::Disable, TlsMode::Require] {
        let session = open(&with_tls(&config("reader"), mode, None)).await.unwrap();
        let place = Some((file.as_str(), offset));
        let server_id = 0x3fff_0001 + u32::from(mode == TlsMode::Require);
        let request = DumpRequest { server_id, place, gtids: None, until_end: true };
        let mut stream = session.dump("reading", &request).await.unwrap();
        let mut sizes = Vec::new();
        while let Some(event) = next_event(&mut stream).await.unwrap() {
            // Type and size are in its header.
            let size = u32::from_le_bytes(event[9..13].try_into().unwrap());
            assert_eq!(usize::try_from(size).unwrap(), event.len());
            if event[4] == 30 && event.len() > 1_000_000 {
                sizes.push(event.iter().filter(|byte| matches!(byte, b'a' | b'b')).count() / 1_000_000);
            }
        }
        assert_eq!(sizes, [20, 40]);
    }
    run(&mut root, &["DROP DATABASE replication_large"]).await;
}

#[tokio::test]
async fn what_the_server_will_not_send_is_said_in_its_words() {
    let session = open(&config("reader")).await.unwrap();
    let place = Some(("binlog.999999", 4));
    let request = DumpRequest { server_id: 0x3fff_0003, place, gtids: None, until_end: true };
    let mut stream = session.dump("reading", &request).await.unwrap();
    let error = loop {
        if let Err(error) = next_event(&mut stream).await {
            break error;
        }
    };
    assert!(!error.is_transient() && error.code() == Some(1236), "{error}");
    assert!(error.to_string().contains("Could not find first log file name"), "{error}");
    // A session that may not read the binlog.
    let mut root = connect(&config("root")).await.unwrap();
    run(
        &mut root,
        &[
            "DROP USER IF EXISTS 'replication_none'@'%'",
            "CREATE USER 'replication_none'@'%' IDENTIFIED BY 'x'",
        ],
    )
    .await;
    let none =
        SourceConfig { user: "replication_none".into(), password: Secret::new("x"), ..config("reader") };
    let session = open(&none).await.unwrap();
    let request = DumpRequest { server_id: 0x3fff_0004, place: None, gtids: None, until_end: true };
    let error = session.dump("reading", &request).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("print-grants"), "{error}");
    run(&mut root, &["DROP USER 'replication_none'@'%'"]).await;
}
