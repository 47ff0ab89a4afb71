//! What the machine has of the tools that make faults.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says that a test did not run, and why, where the test runner does not swallow it.
pub fn skipped(test: &str, why: &str) {
    // Written as it is: `eprintln!` would be captured, and a test that passes shows nothing of that.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// Whether a command can be started; says so where it cannot.
pub fn has(test: &str, tool: &str, probe: &[&str]) -> bool {
    let mut command = Command::new(tool);
    let ended = command.args(probe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = ended.is_ok_and(|status| status.success());
    if !works {
        skipped(test, &format!("`{tool} {}` does not work here", probe.join(" ")));
    }
    works
}

pub fn has_strace(test: &str) -> bool {
    has(test, "strace", &["-f", "--seccomp-bpf", "-e", "trace=fdatasync", "true"])
}

/// Runs a tool to its end; what it said where it failed.
pub fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

pub fn shown(path: &Path) -> &str {
    path.to_str().expect("a temporary directory is UTF-8")
}
