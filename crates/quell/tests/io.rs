//! `quell::io`: std's traits over calls that can be interrupted.

#![cfg(all(target_os = "linux", not(any(quell_loom, quell_shuttle))))]

mod common;

use common::{Random, disturber, stress};
use quell::io::{self, Child, Interruptible, TcpListener, TcpStream, UnixListener, UnixStream};
use quell::{CallError, Interrupt, Outcome, Wait, thread};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Interrupts a thread that blocks in `f`, and expects it to come back with the error.
fn is_reached<T>(f: impl FnOnce() -> std::io::Result<T> + Send + 'static)
where
    T: Send + std::fmt::Debug + 'static,
{
    let waiter = thread::spawn(f);
    let receipt = waiter.thread().interrupt(Interrupt::new("reached"));
    let error = waiter.join().unwrap().unwrap_err();
    // Not EINTR, upon which std's helpers would try again.
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(io::is_interrupted(&error));
    assert!(error.to_string().ends_with("was interrupted: reached"), "{error}");
    let interrupted = io::into_interrupted(error).unwrap();
    assert_eq!(interrupted.downcast_ref::<&str>(), Some(&"reached"));
    assert_eq!(receipt.state(), Outcome::Delivered);
}

#[test]
fn in_a_read_to_the_end() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"some").unwrap();
    is_reached(move || {
        let _open = &writer;
        reader.read_to_end(&mut Vec::new())
    });
}

#[test]
fn in_a_line() {
    let (reader, writer) = io::pipe().unwrap();
    is_reached(move || {
        let _open = &writer;
        BufReader::new(reader).read_line(&mut String::new())
    });
}

#[test]
fn in_a_copy() {
    let (mut reader, mut full) = io::pipe().unwrap();
    let copy = move || std::io::copy(&mut std::io::repeat(1), &mut full);
    let mut first = [0; 1];
    let copier = thread::spawn(copy);
    reader.read_exact(&mut first).unwrap();
    copier.thread().interrupt(Interrupt::new("enough"));
    assert!(io::is_interrupted(&copier.join().unwrap().unwrap_err()));
}

#[test]
fn in_an_accept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    is_reached(move || listener.accept());
}

#[test]
fn in_an_accept_of_a_unix_socket() {
    let directory = std::env::temp_dir().join(format!("quell-io-{}", std::process::id()));
    let listener = UnixListener::bind(&directory).unwrap();
    std::fs::remove_file(&directory).unwrap();
    is_reached(move || listener.accept());
}

#[test]
fn in_a_read_of_a_socket() {
    let (mut here, there) = UnixStream::pair().unwrap();
    is_reached(move || {
        let _open = &there;
        here.read(&mut [0; 1])
    });
}

#[test]
fn in_a_wait_for_a_child() {
    is_reached(|| {
        let mut cat = Command::new("sleep");
        let mut child = Child::spawn(cat.arg("3600")).unwrap();
        let waited = child.wait();
        child.kill().unwrap();
        let shielded = Wait::new().shielded();
        assert!(!child.wait_with(&shielded).unwrap().success());
        // Again: the same.
        assert!(!child.wait().unwrap().success());
        waited
    });
}

#[test]
fn a_timeout_is_one() {
    let (mut reader, _writer) = io::pipe().unwrap();
    reader.set_timeout(Some(Duration::from_millis(5)));
    let start = Instant::now();
    let error = reader.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(5));
    assert!(!io::is_interrupted(&error));
}

/// A conversation over TCP, with every part in its own thread, and interrupts flying at both: each says what it got.
#[test]
fn a_conversation_under_interrupts() {
    let lines = stress(2_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    /// Until it is done, however often it is interrupted.
    fn insist<T>(mut f: impl FnMut() -> std::io::Result<T>) -> T {
        loop {
            match f() {
                Ok(done) => return done,
                Err(error) => assert!(io::is_interrupted(&error), "{error}"),
            }
        }
    }
    let server = thread::spawn(move || {
        let (stream, _) = insist(|| listener.accept());
        let mut reader = BufReader::new(&stream);
        for _ in 0..lines {
            let mut line = Vec::new();
            // What an interrupted `read_until` has read stays in `line`.
            while !line.ends_with(b"\n") {
                assert!(insist(|| reader.read_until(b'\n', &mut line)) > 0, "nobody is there");
            }
            all(&stream, &line);
        }
    });
    /// Writes all, from where it was interrupted.
    fn all(stream: &TcpStream, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            match stream.write_all_with(&bytes[done..], &Wait::new()) {
                Ok(()) => return,
                Err(unfinished) => {
                    assert!(matches!(unfinished.error(), CallError::Interrupted(_)));
                    done += unfinished.done();
                }
            }
        }
    }
    // Before anybody is interrupted: a connection whose making was interrupted may have been accepted all the same.
    let stream = TcpStream::connect(address).unwrap();
    let client = thread::spawn(move || {
        let mut random = Random::new(1);
        for number in 0..lines {
            let sent = format!("{number} {}\n", "x".repeat(random.below(3000) as usize));
            all(&stream, sent.as_bytes());
            let (mut got, mut done) = (vec![0; sent.len()], 0);
            while let Err(unfinished) = stream.read_exact_with(&mut got[done..], &Wait::new()) {
                assert!(matches!(unfinished.error(), CallError::Interrupted(_)));
                done += unfinished.done();
            }
            assert_eq!(got, sent.as_bytes(), "line {number}");
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let targets = vec![server.thread().clone(), client.thread().clone()];
    let disturber = disturber(2, 3, targets, &stop, u64::MAX);
    client.join().unwrap();
    server.join().unwrap();
    stop.store(true, SeqCst);
    assert!(disturber.join().unwrap() > 0);
}

/// What a child has written is not lost when the wait for it is interrupted, again and again.
#[test]
fn output_survives_interrupts() {
    let script = "read go; for i in $(seq 300); do echo out $i; echo err $i >&2; done";
    let (stdin, mut go) = std::io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let target = thread::spawn(move || {
        let mut child = Child::spawn(&mut command).unwrap();
        let mut interrupted = 0;
        loop {
            match child.wait_with_output(&Wait::new()) {
                Ok(output) => return (output, interrupted),
                Err(CallError::Interrupted(_)) => interrupted += 1,
                Err(other) => panic!("{other}"),
            }
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let disturber = disturber(3, 1, vec![target.thread().clone()], &stop, u64::MAX);
    // The first interrupt was sent: it comes while there is something to wait for.
    go.write_all(b"\n").unwrap();
    let (output, interrupted) = target.join().unwrap();
    stop.store(true, SeqCst);
    disturber.join().unwrap();
    let lines = |name: &str| (1..=300).map(|i| format!("{name} {i}\n")).collect::<String>();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), lines("out"));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), lines("err"));
    assert!(output.status.success());
    assert!(interrupted > 0);
}

#[test]
fn what_is_wrapped_is_there() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let mut null = Interruptible::from(file);
    assert_eq!(null.read(&mut [0; 4]).unwrap(), 0);
    let short = null.read_exact_with(&mut [0; 4], &Wait::new()).unwrap_err();
    assert_eq!(short.done(), 0);
    assert_eq!(std::io::Error::from(short).kind(), ErrorKind::UnexpectedEof);
    assert!(null.get_ref().metadata().is_ok());
    drop(null.into_inner());
}

/// To an address where nobody listens.
#[test]
fn a_refused_connection_is_an_error_of_the_system() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(TcpStream::connect(&[][..]).is_err());
    assert!(UnixStream::connect("x".repeat(200)).is_err());
}
