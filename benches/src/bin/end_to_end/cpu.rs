//! CPU time of the three servers: their processes enter, seconds leave. Together with the services' own it tells which
//! part of a phase limits it, where everything shares two cores.

use crate::servers::Servers;
use std::collections::HashMap;
use std::ops::Sub;
use tributary_benches::Result;

/// User and system time since the servers started, seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerCpu {
    pub mysql: f64,
    pub kafka: f64,
    pub postgres: f64,
}

/// Of a process: its parent; ticks of its own; ticks of its children that have ended and were waited for.
struct Times {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl ServerCpu {
    /// As it is now.
    pub(crate) fn now(servers: &Servers) -> Result<Self> {
        let processes = processes()?;
        #[allow(unsafe_code, reason = "the standard library does not tell the length of a tick")]
        // SAFETY: no memory is involved.
        let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        let seconds = |variable| -> Result<f64> {
            let root = servers.get(variable).parse()?;
            Ok(ticks(&processes, root) as f64 / ticks_per_second)
        };
        Ok(Self {
            mysql: seconds("MYSQL_PID")?,
            kafka: seconds("KAFKA_PID")?,
            postgres: seconds("POSTGRES_PID")?,
        })
    }
}

impl Sub for ServerCpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            mysql: self.mysql - before.mysql,
            kafka: self.kafka - before.kafka,
            postgres: self.postgres - before.postgres,
        }
    }
}

/// A server's processes are one tree, one level deep: PostgreSQL has a backend for each session.
fn ticks(processes: &HashMap<u32, Times>, root: u32) -> u64 {
    processes
        .iter()
        .filter(|(process, times)| **process == root || times.parent == root)
        .map(|(_, times)| times.own + times.ended_children)
        .sum()
}

fn processes() -> Result<HashMap<u32, Times>> {
    let mut processes = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended in between.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(times) = parse(&stat) {
            processes.insert(process, times);
        }
    }
    Ok(processes)
}

/// proc(5): the name, in brackets, may hold anything; behind it come state, parent, and utime as the twelfth field.
fn parse(stat: &str) -> Option<Times> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        ended_children: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 99";
        let times = parse(stat).unwrap();
        assert_eq!((times.parent, times.own, times.ended_children), (3, 23, 27));
    }

    #[test]
    fn a_tree_is_the_server_and_its_children() {
        let of = |parent, own| Times { parent, own, ended_children: 1 };
        let processes = HashMap::from([(5, of(1, 10)), (6, of(5, 100)), (7, of(1, 1000))]);
        assert_eq!(ticks(&processes, 5), 112);
    }
}
