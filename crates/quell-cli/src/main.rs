//! The command `quell`.
//!
//! Without Rust's own start-up code: it opens `/dev/null` where a standard stream is closed, ignores SIGPIPE and handles
//! SIGSEGV, all of which the script would see.

#![no_main]

#[cfg(static_python)]
mod data;

use std::ffi::{c_char, c_int};
use std::io::Write;
use std::process::exit;
use std::time::Instant;

use _quell::run::{Command, FAILURE_STATUS, args, watchdog};

/// The C library's entry point. The arguments are read with `std::env::args_os`, which does not depend on it.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let started = Instant::now();
    let plan = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(plan)) => *plan,
        Ok(Command::Watch(orders)) => watchdog::watch(&orders),
        Ok(Command::Help(text)) => print(text),
        Ok(Command::Version) => print(&quell_host::version()),
        Err(error) => fail(&error.to_string()),
    };
    #[cfg(static_python)]
    data::bring_in();
    match quell_host::run(plan, started) {
        Ok(status) => exit(status),
        Err(error) => fail(&error.to_string()),
    }
}

fn print(text: &str) -> ! {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => exit(0),
        Err(_) => exit(FAILURE_STATUS),
    }
}

fn fail(text: &str) -> ! {
    eprintln!("quell: {text}");
    exit(FAILURE_STATUS)
}
