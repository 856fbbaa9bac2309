//! A server with a deadline for each request, however long the request would take and wherever it is then: in the
//! backlog it never begins, in the middle of its work it is interrupted and still answers.
//!
//! The sockets are std's, whose calls know nothing of interrupts. So they are read with a short timeout, and between two
//! reads the thread looks whether it was interrupted: it hears of that within `LOOK`.
//!
//!     cargo run -p quell --example server

use quell::pool::Pool;
use quell::{Interrupted, thread};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long a read may keep a thread from looking.
const LOOK: Duration = Duration::from_millis(5);
/// How long a request may take, from its arrival.
const DEADLINE: Duration = Duration::from_millis(250);

/// A stream whose reads are interruption points: they fail with the interrupt as the error.
struct Interruptible(TcpStream);

impl Read for Interruptible {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            quell::checkpoint().map_err(io::Error::other)?;
            match self.0.read(buffer) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                done => return done,
            }
        }
    }
}

/// Answers one request: `sum N` adds the numbers below N.
fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    let mut out = stream.try_clone()?;
    let reply = request(stream).unwrap_or_else(|error| format!("error: {error}"));
    writeln!(out, "{reply}")
}

fn request(stream: TcpStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(Interruptible(stream)).read_line(&mut line)?;
    let number = line.trim().strip_prefix("sum ").and_then(|n| n.parse().ok());
    let Some(number) = number else { return Ok("error: what?".to_owned()) };
    sum(number).map(|sum| sum.to_string()).map_err(io::Error::other)
}

fn sum(below: u64) -> Result<u64, Interrupted> {
    let mut sum = 0_u64;
    for n in 0..below {
        quell::checkpoint()?;
        sum = sum.wrapping_add(std::hint::black_box(n));
    }
    Ok(sum)
}

/// Accepts connections until it is interrupted.
fn serve(listener: &TcpListener, pool: &Pool) -> Result<(), Interrupted> {
    listener.set_nonblocking(true).expect("a listener can be non-blocking");
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("a stream can be blocking");
                let task = pool.task().deadline(Instant::now() + DEADLINE);
                // A full backlog is answered by closing the connection; so is one that never gets its turn.
                drop(task.try_submit(move || answer(stream)));
            }
            Err(_) => quell::sleep(LOOK)?,
        }
    }
}

fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    match stream.read_to_string(&mut reply) {
        // Closed without an answer, and without reading what we said.
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        read => drop(read?),
    }
    Ok(reply.trim_end().to_owned())
}

pub(crate) fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pool = Pool::builder().workers(4).name("request").backlog(32).build().unwrap();
    thread::scope(|s| {
        let server = s.spawn(|| serve(&listener, &pool));

        let quick = ask(address, "sum 1000\n").unwrap();
        println!("a quick request: {quick}");
        let endless = ask(address, "sum 18446744073709551615\n").unwrap();
        println!("an endless one: {endless}");
        let silent = ask(address, "su").unwrap();
        println!("one that never says what it wants: {silent}");
        let late = |reply: &str| {
            // On a machine that is busy otherwise, a request may not have had its turn by the deadline.
            reply.is_empty() || reply.ends_with("was interrupted: the task's deadline has passed")
        };
        assert!(late(&endless) && late(&silent) && (quick == "499500" || late(&quick)));

        server.thread().interrupt(quell::Interrupt::new("closing time"));
        println!("{}", server.join().unwrap().unwrap_err());
    });
    pool.shutdown();
    pool.join().unwrap();
    println!("{}", pool.stats());
}
