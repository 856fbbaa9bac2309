//! Runs one test binary for cargo, and does not let it hang: `xtask runner BINARY ARGUMENTS…`.
//!
//! nextest kills a test that takes too long, but a killed test says nothing about where it hung. So this runner has a
//! limit of its own, a little shorter: when it passes, every thread's stack is printed, then the binary is killed.
//! `.config/nextest.toml` holds nextest's limit, the net below this one.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::Duration;

use crate::stacks;

/// Seconds, unless `QUELL_TEST_LIMIT` says otherwise.
const LIMIT: u64 = 120;

/// Runs the binary; exits as it does. A hang exits with 124, a death by signal N with 128 + N.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let Some((binary, rest)) = arguments.split_first() else {
        eprintln!("xtask runner: no test binary was named");
        return ExitCode::from(2);
    };
    let limit = std::env::var("QUELL_TEST_LIMIT").ok().and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(limit.unwrap_or(LIMIT));
    let mut child = match Command::new(binary).args(rest).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("xtask runner: {binary}: {error}");
            return ExitCode::from(125);
        }
    };
    let pid = child.id().cast_signed();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait()));
    match end.recv_timeout(limit) {
        Ok(Ok(status)) => {
            if let Some(signal) = status.signal() {
                eprintln!("xtask runner: {binary} was ended by signal {signal}");
            }
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Ok(Err(error)) => {
            eprintln!("xtask runner: waiting for {binary}: {error}");
            ExitCode::from(125)
        }
        Err(_) => {
            eprintln!("xtask runner: still running after {limit:?}: {}", rest.join(" "));
            eprintln!("{}{}", stacks::describe(pid), stacks::native_stacks(pid));
            // SAFETY: kill takes two integers. The process is our child and unreaped: the waiting thread would have
            // told otherwise; should it end this very moment, its id stays ours until that thread has returned.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            let _ = end.recv();
            ExitCode::from(124)
        }
    }
}
