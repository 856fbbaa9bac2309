//! A server whose threads wait for the network, and which is stopped from outside: every connection is told, no line is cut
//! in the middle, and every thread has ended before the program does.
//!
//!     cargo run -p quell --example listener

use quell::io::{self, TcpListener, TcpStream};
use quell::{Interrupt, thread};
use std::io::{BufRead, BufReader, Write};

/// Answers every line with its length, until the client goes or somebody interrupts.
fn serve(stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        // What has come in is answered, whole: interrupts wait until then.
        let shield = quell::shield();
        let mut out = stream;
        writeln!(out, "{}", line.trim_end().len())?;
        drop(shield);
    }
}

/// Accepts connections until it is interrupted, and then interrupts and waits for what it has started.
fn listen(listener: &TcpListener) -> std::io::Result<usize> {
    let mut served = 0;
    thread::scope(|scope| {
        let ended = loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    served += 1;
                    scope.spawn(move || {
                        let ended = serve(&stream);
                        if ended.is_err_and(|error| io::is_interrupted(&error)) {
                            // The client may be gone; then nobody is to be told.
                            let _ = writeln!(&stream, "the server stops");
                        }
                    });
                }
                Err(error) if io::is_interrupted(&error) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        scope.interrupt_all(|| Interrupt::new("the server stops"));
        ended
    })?;
    Ok(served)
}

pub(crate) fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || listen(&listener));

    let client = TcpStream::connect(address)?;
    let mut answers = BufReader::new(&client);
    for line in ["hello", "how long is this line?"] {
        writeln!(&client, "{line}")?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        println!("{line:?} has {} characters", answer.trim_end());
    }

    // One thread waits for a connection, one for a line: neither ever comes.
    server.thread().interrupt(Interrupt::new("enough"));
    let mut last = String::new();
    answers.read_line(&mut last)?;
    println!("then: {}", last.trim_end());
    let served = server.join().expect("it does not panic")?;
    println!("connections served: {served}");
    Ok(())
}
