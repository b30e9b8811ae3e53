//! The local servers' script: a command enters, addresses and passwords leave. The demo has an instance of its own, so that
//! it never touches what tests or people have in theirs.

use std::process::Stdio;
use tokio::process::Command;
use tributary_service::exit::Failure;

const SCRIPT: &str = "deploy/local/servers";

/// The servers of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    instance: String,
}

/// What `servers env` prints: addresses and passwords by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    env: String,
}

impl Servers {
    /// Those of `instance`.
    pub(crate) fn new(instance: &str) -> Self {
        Self { instance: instance.to_owned() }
    }

    /// Deletes whatever an earlier demo left, and starts all three anew.
    pub(crate) async fn start_anew(&self) -> Result<Addresses, Failure> {
        self.run("reset").await?;
        self.run("up").await?;
        self.addresses().await
    }

    /// Where they listen, and who may enter.
    pub(crate) async fn addresses(&self) -> Result<Addresses, Failure> {
        Ok(Addresses { env: self.run("env").await? })
    }

    /// Stops all three and keeps their data.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        self.run("down").await.map(drop)
    }

    /// A command as a person types it.
    pub(crate) fn typed(&self, command: &str) -> String {
        format!("{SCRIPT} --instance {} {command}", self.instance)
    }

    async fn run(&self, command: &str) -> Result<String, Failure> {
        let failed =
            |why: &str| Failure::new("the local servers' script failed", why).at(self.typed(command));
        let output = Command::new(SCRIPT)
            .args(["--instance", &self.instance, command])
            .stdin(Stdio::null())
            // Ctrl-C is ours to handle: the script must not be cut in half.
            .process_group(0)
            .output()
            .await
            .map_err(|error| failed(&error.to_string()).remedy("run the demo at the top of the checkout"))?;
        let out = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(out.into_owned());
        }
        Err(failed(format!("{out}{}", String::from_utf8_lossy(&output.stderr)).trim_end()))
    }
}

impl Addresses {
    /// The value of `name`; empty if the script does not give it, as in a shell.
    pub(crate) fn get(&self, name: &str) -> &str {
        let assignment =
            self.env.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name);
        assignment.map_or("", |(_, value)| value.trim_matches('\''))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Addresses for other modules' tests.
    pub(crate) fn sample() -> Addresses {
        let env = "MYSQL_HOST=127.0.0.1\nMYSQL_PORT=20128\nMYSQL_READER_PASSWORD='s=e'\nKAFKA_BROKERS=127.0.0.1:20129\n\
                   PG_HOST=127.0.0.1\nPG_PORT=20131\nPG_DATABASE=dw\nPG_USER=loader\nPG_PASSWORD=l\n";
        Addresses { env: env.to_owned() }
    }

    #[test]
    fn assignments_are_read_with_and_without_quotes() {
        assert_eq!(sample().get("MYSQL_PORT"), "20128");
        assert_eq!(sample().get("MYSQL_READER_PASSWORD"), "s=e");
        assert_eq!(sample().get("MYSQL"), "");
    }
}
