//! The examples, run as they are. Each asserts what it shows.

#![cfg(not(any(quell_loom, quell_shuttle)))]

#[path = "../examples/download.rs"]
mod download;
#[cfg(quell_calls)]
#[path = "../examples/listener.rs"]
mod listener;
#[path = "../examples/philosophers.rs"]
mod philosophers;
#[path = "../examples/pipeline.rs"]
mod pipeline;
#[path = "../examples/server.rs"]
mod server;
#[path = "../examples/watchdog.rs"]
mod watchdog;

#[test]
fn download_runs() {
    download::main();
}

#[cfg(quell_calls)]
#[test]
fn listener_runs() {
    listener::main().unwrap();
}

#[test]
fn philosophers_dine() {
    philosophers::main();
}

#[test]
fn pipeline_runs() {
    pipeline::main();
}

#[test]
fn server_runs() {
    server::main();
}

#[test]
fn watchdog_runs() {
    watchdog::main();
}
