//! A pooler between apply and the server, here pgbouncer: where it shares sessions, that is said before anything goes wrong.

use crate::support::{SOON, Task, env};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use tributary_schemas::envelope::Operation::Create;
use tributary_tests::{free_port, wait_for};

struct Pooler {
    child: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Pooler {
    fn start(task: &Task, mode: &str) -> Self {
        let port = free_port();
        // Where a user who is not root can read it.
        let folder = std::env::temp_dir().join(format!("{}_{mode}", task.name));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{0} = host={1} port={2} dbname={0} user={3} password={4}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n",
            env("PG_DATABASE"),
            env("PG_HOST"),
            env("PG_PORT"),
            env("PG_USER"),
            env("PG_PASSWORD")
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        if root {
            command.args(["-u", "nobody"]);
        }
        let child = command.arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the pooler", SOON, || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port, folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_pooler_that_shares_sessions_is_named_and_one_that_does_not_is_used() {
    let mut task = Task::new("pooled");
    let t = task.table("t");
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("x")])));
    let mut port = env("PG_PORT").to_owned();
    for mode in ["transaction", "statement", "session"] {
        let pooler = Pooler::start(&task, mode);
        task.edit(&format!("port = {port}"), &format!("port = {}", pooler.port));
        port = pooler.port.to_string();
        let shared = mode != "session";
        let mut check = task.start(&["check"]);
        check.expect_exit(i32::from(shared));
        let found = check.output();
        assert_eq!(found.contains("pool_mode = session"), shared, "{mode}: {found}");
        let mut run = task.start(&["run", "--until-caught-up"]);
        run.expect_exit(i32::from(shared));
        let said = run.output();
        assert_eq!(said.contains("destination-pooled"), shared, "{mode}: {said}");
        if !shared {
            assert_eq!(task.rows("t"), "1|x");
        }
    }
}
