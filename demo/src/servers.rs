//! The local servers' script: what to run enters, addresses and passwords leave. The demo has an instance of its own,
//! so that it never touches what tests or people have in theirs.

use crate::error::DemoError;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// `deploy/local/servers --instance NAME`.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The script.
    pub script: PathBuf,
    /// The instance.
    pub instance: String,
}

/// Where the servers of the instance listen, and who may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Host of MySQL.
    pub mysql_host: String,
    /// Port of MySQL.
    pub mysql_port: u16,
    /// Password of `root`, who writes the sample.
    pub mysql_root_password: String,
    /// Password of `reader`, as whom `capture` reads.
    pub mysql_reader_password: String,
    /// Kafka's bootstrap servers.
    pub kafka_brokers: String,
    /// Host of the warehouse.
    pub warehouse_host: String,
    /// Port of the warehouse.
    pub warehouse_port: u16,
    /// Its database.
    pub warehouse_database: String,
    /// As whom `apply` writes.
    pub warehouse_user: String,
    /// The password of that.
    pub warehouse_password: String,
}

impl Servers {
    /// Deletes whatever an earlier demo left, and starts all three anew.
    pub async fn start_anew(&self) -> Result<Addresses, DemoError> {
        self.run(&["reset"]).await?;
        self.run(&["up"]).await?;
        addresses(&self.run(&["env"]).await?)
    }

    /// Stops all three and keeps their data.
    pub async fn stop(&self) -> Result<(), DemoError> {
        self.run(&["down"]).await.map(drop)
    }

    /// The command that deletes their data, as a person types it.
    pub fn reset_command(&self) -> String {
        self.typed(&["reset"])
    }

    fn typed(&self, arguments: &[&str]) -> String {
        format!("{} --instance {} {}", self.script.display(), self.instance, arguments.join(" "))
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, DemoError> {
        let output = Command::new(&self.script)
            .args(["--instance", &self.instance])
            .args(arguments)
            .stdin(Stdio::null())
            // Ctrl-C is ours to handle: the script must not be cut in half.
            .process_group(0)
            .output()
            .await
            .map_err(DemoError::io("run", &self.script))?;
        let out = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(out.into_owned());
        }
        let said = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        Err(DemoError::Servers { command: self.typed(arguments), output: said.trim_end().to_owned() })
    }
}

/// Reads the shell assignments of `servers env`.
fn addresses(env: &str) -> Result<Addresses, DemoError> {
    let value = |name: &'static str| {
        env.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim_matches('\'').to_owned())
            .ok_or(DemoError::NoAddress(name))
    };
    let port = |name| value(name)?.parse().map_err(|_| DemoError::NoAddress(name));
    Ok(Addresses {
        mysql_host: value("MYSQL_HOST")?,
        mysql_port: port("MYSQL_PORT")?,
        mysql_root_password: value("MYSQL_ROOT_PASSWORD")?,
        mysql_reader_password: value("MYSQL_READER_PASSWORD")?,
        kafka_brokers: value("KAFKA_BROKERS")?,
        warehouse_host: value("PG_HOST")?,
        warehouse_port: port("PG_PORT")?,
        warehouse_database: value("PG_DATABASE")?,
        warehouse_user: value("PG_USER")?,
        warehouse_password: value("PG_PASSWORD")?,
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const ENV: &str = "INSTANCE_DIR='/var/x y'\nMYSQL_HOST=127.0.0.1\nMYSQL_PORT=20128\nMYSQL_ROOT_PASSWORD=root\n\
        MYSQL_READER_PASSWORD='s=e'\nKAFKA_BROKERS=127.0.0.1:20129\nPG_HOST=127.0.0.1\nPG_PORT=20131\n\
        PG_DATABASE=dw\nPG_USER=loader\nPG_PASSWORD=l\n";

    /// Addresses for other modules' tests.
    pub fn sample() -> Addresses {
        addresses(ENV).unwrap()
    }

    #[test]
    fn assignments_are_read_with_and_without_quotes() {
        let addresses = sample();
        assert_eq!(addresses.mysql_port, 20128);
        assert_eq!(addresses.mysql_reader_password, "s=e");
        assert_eq!(addresses.warehouse_database, "dw");
    }

    #[test]
    fn what_is_missing_is_named() {
        let without = ENV.replace("PG_PORT=20131\n", "");
        assert!(addresses(&without).unwrap_err().to_string().contains("PG_PORT"));
    }
}
