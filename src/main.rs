use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use coliseum::cli::{self, Cli};

/// Request bodies and records come and go by the million: fewer cycles than glibc's malloc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(status) => ExitCode::from(status as u8),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to be done for a message that nobody can read.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
