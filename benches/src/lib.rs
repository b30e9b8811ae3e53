//! What both benchmarks share: what the machine is, and where results go. A title, a command and tables enter; a page
//! in `docs/benchmarks` leaves, named by the day.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use tributary_tests::servers::root;

/// A benchmark has one reader, in front of a terminal: any error ends it, with its text.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What a command prints, without the last line's end.
///
/// # Errors
/// It cannot be run, or it fails: then with what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}: {errors}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Processor, cores, memory, kernel, compiler and commit, a Markdown list.
///
/// # Errors
/// One of these cannot be asked for.
pub fn machine() -> Result<String> {
    let processor = std::fs::read_to_string("/proc/cpuinfo")?;
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;
    let kernel = output(Command::new("uname").args(["-s", "-r", "-m"]))?;
    let compiler = output(Command::new("rustc").arg("--version"))?;
    let commit = output(Command::new("git").arg("-C").arg(root()).args(["describe", "--always", "--dirty"]))?;
    Ok(format!(
        "* {}, {cores} cores, {} of memory, {kernel}\n* {compiler}, release profile, commit {commit}\n",
        processor.trim_start_matches([' ', '\t', ':']),
        memory.trim(),
    ))
}

/// Writes `text` as `docs/benchmarks/<today>-<name>.md`.
///
/// # Errors
/// The file cannot be written.
pub fn write_page(name: &str, text: &str) -> Result<PathBuf> {
    let day = output(Command::new("date").args(["-u", "+%F"]))?;
    let directory = root().join("docs/benchmarks");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{day}-{name}.md"));
    std::fs::write(&path, text)?;
    Ok(path)
}
