//! The command `quell`.

use std::io::Write;
use std::process::exit;
use std::time::Instant;

use _quell::run::{Command, FAILURE_STATUS, args};

fn main() {
    let started = Instant::now();
    let plan = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(plan)) => *plan,
        Ok(Command::Help(text)) => print(text),
        Ok(Command::Version) => print(&quell_host::version()),
        Err(error) => fail(&error.to_string()),
    };
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
