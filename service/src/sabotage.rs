//! Switches that break the code on purpose, for the tests that want to see the pipeline survive it, or see a safeguard
//! missed. They exist under the feature `sabotage` only: without it every call here is empty, and nothing reads the
//! environment.
//!
//! `TRIBUTARY_SABOTAGE` holds one or more of these, with commas between:
//! * `kill:POINT:N` ends the process with SIGKILL at the N-th pass of a named point; nothing runs behind it;
//! * `strike:POINT:N` has SIGKILL sent at that pass and goes on, so that the end comes in the middle of what follows;
//! * `freeze:POINT:N` stops the process with SIGSTOP at that pass, until somebody sends SIGCONT;
//! * `skip:STEP` leaves a step out.

#[cfg(feature = "sabotage")]
pub use armed::{pass, skips};

/// Nothing: this binary cannot be told to end here.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn pass(_: &str) {}

/// False: this binary leaves no step out.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
#[must_use]
pub const fn skips(_: &str) -> bool {
    false
}

#[cfg(feature = "sabotage")]
mod armed {
    use std::process::{Command, Stdio};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where the directives come from.
    const VARIABLE: &str = "TRIBUTARY_SABOTAGE";

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        Kill,
        Strike,
        Freeze,
    }

    #[derive(Debug)]
    struct Trap {
        fault: Fault,
        point: String,
        at: u64,
        passes: AtomicU64,
    }

    #[derive(Debug, Default)]
    struct Plan {
        traps: Vec<Trap>,
        skipped: Vec<String>,
    }

    /// A mistake in the variable must not look like a process that survived: it is a panic.
    fn parse(text: &str) -> Plan {
        let mut plan = Plan::default();
        for directive in text.split(',').filter(|directive| !directive.is_empty()) {
            let parts: Vec<&str> = directive.split(':').collect();
            let trap = |fault: Fault, point: &str, at: &str| Trap {
                fault,
                point: point.to_owned(),
                at: at.parse().unwrap_or_else(|_| panic!("{VARIABLE}: {at:?} is not a number")),
                passes: AtomicU64::new(0),
            };
            match parts[..] {
                ["kill", point, at] => plan.traps.push(trap(Fault::Kill, point, at)),
                ["strike", point, at] => plan.traps.push(trap(Fault::Strike, point, at)),
                ["freeze", point, at] => plan.traps.push(trap(Fault::Freeze, point, at)),
                ["skip", step] => plan.skipped.push(step.to_owned()),
                _ => panic!(
                    "{VARIABLE}: {directive:?} is not kill:POINT:N, strike:POINT:N, freeze:POINT:N or skip:STEP"
                ),
            }
        }
        plan
    }

    fn plan() -> &'static Plan {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| parse(&std::env::var(VARIABLE).unwrap_or_default()))
    }

    impl Plan {
        /// What is due at this pass of `point`.
        fn due(&self, point: &str) -> Option<Fault> {
            let here = self.traps.iter().filter(|trap| trap.point == point);
            let due = here.filter(|trap| trap.passes.fetch_add(1, Ordering::Relaxed) + 1 == trap.at);
            due.map(|trap| trap.fault).last()
        }
    }

    /// Passes a named point, unless this is the pass at which something is to happen to the process.
    pub fn pass(point: &str) {
        let Some(fault) = plan().due(point) else { return };
        let signal = if fault == Fault::Freeze { "STOP" } else { "KILL" };
        eprintln!("sabotage: SIG{signal} at {point}");
        // No unsafe code, and so no libc: the signal comes from outside, as it does when an operator sends it.
        let (signal, pid) = (format!("-{signal}"), std::process::id().to_string());
        let mut kill = Command::new("kill");
        kill.args([&signal, &pid]).stdin(Stdio::null());
        if fault == Fault::Freeze {
            // It ends once the signal is sent, and nothing here goes on before that.
            let status = kill.status();
            assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "kill -STOP: {status:?}");
            return;
        }
        let sent = kill.spawn();
        assert!(sent.is_ok(), "kill cannot be run: {sent:?}");
        if fault == Fault::Kill {
            loop {
                std::thread::park();
            }
        }
    }

    /// True if a step is to be left out.
    #[must_use]
    pub fn skips(step: &str) -> bool {
        plan().skipped.iter().any(|skipped| skipped == step)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_trap_is_sprung_once_at_its_pass() {
            let plan = parse("kill:commit:2,strike:other:1,freeze:check:1,skip:wait");
            assert_eq!(plan.due("commit"), None);
            assert_eq!(plan.due("nowhere"), None);
            assert_eq!(plan.due("commit"), Some(Fault::Kill));
            assert_eq!(plan.due("commit"), None);
            assert_eq!(plan.due("other"), Some(Fault::Strike));
            assert_eq!(plan.due("check"), Some(Fault::Freeze));
            assert_eq!(plan.skipped, ["wait"]);
            assert!(parse("").traps.is_empty());
        }

        #[test]
        #[should_panic(expected = "is not kill:POINT:N")]
        fn a_misspelt_directive_is_no_silence() {
            parse("kil:commit:2");
        }
    }
}
