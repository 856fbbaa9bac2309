//! Nothing half done: what an interrupted system call has taken, opened or given is nothing, or is told. Included by one file for
//! each mechanism, as the guarantees.

use crate::calls::{self};
use crate::common::{Random, disturber, stress};
use quell::{CallError, Interrupt, Outcome, Wait, syscall, thread};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::Instant;

/// A stream through a pipe while interrupts fly at both ends: no byte is lost or read twice, and each interrupt is seen
/// once.
#[test]
fn no_byte_is_lost_or_read_twice() {
    calls::install();
    let bytes = stress(1 << 20);
    let (reader, writer) = std::io::pipe().unwrap();
    let byte = |at: u64| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    // Nothing is written before the first interrupt was sent.
    let go = Arc::new(Barrier::new(2));
    let begins = Arc::clone(&go);
    let source = thread::spawn(move || {
        begins.wait();
        let (mut sent, mut interrupted, mut random) = (0, 0, Random::new(5));
        while sent < bytes {
            let length = (1 + random.below(9000)).min(bytes - sent);
            let chunk: Vec<u8> = (sent..sent + length).map(byte).collect();
            match syscall::write(&writer, &chunk, &Wait::new()) {
                Ok(written) => sent += written as u64,
                Err(CallError::Interrupted(_)) => interrupted += 1,
                other => panic!("{other:?}"),
            }
        }
        (interrupted, quell::current().withdraw_all() as u64)
    });
    let sink = thread::spawn(move || {
        let (mut got, mut interrupted, mut random) = (0, 0, Random::new(6));
        let mut buffer = vec![0; 9000];
        loop {
            let room = 1 + random.below(9000) as usize;
            match syscall::read(&reader, &mut buffer[..room], &Wait::new()) {
                Ok(0) => break,
                Ok(read) => {
                    for (at, &found) in buffer[..read].iter().enumerate() {
                        assert_eq!(found, byte(got + at as u64), "byte {}", got + at as u64);
                    }
                    got += read as u64;
                }
                Err(CallError::Interrupted(_)) => interrupted += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(got, bytes);
        (interrupted, quell::current().withdraw_all() as u64)
    });
    let ends = [source.thread().clone(), sink.thread().clone()];
    let (mut random, mut receipts) = (Random::new(7), vec![ends[0].interrupt(Interrupt::new(()))]);
    go.wait();
    while ends.iter().any(quell::Thread::is_alive) {
        receipts.push(ends[random.below(2) as usize].interrupt(Interrupt::new(())));
        for _ in 0..random.below(5000) {
            std::hint::spin_loop();
        }
    }
    let ((a, left_a), (b, left_b)) = (source.join().unwrap(), sink.join().unwrap());
    let count = |outcome| receipts.iter().filter(|r| r.state() == outcome).count() as u64;
    assert_eq!(count(Outcome::Delivered), a + b);
    assert_eq!(count(Outcome::Withdrawn), left_a + left_b);
    assert_eq!(
        count(Outcome::Delivered) + count(Outcome::Withdrawn) + count(Outcome::TargetExited),
        receipts.len() as u64
    );
    assert!(a + b > 0);
}

/// Connections come in while interrupts fly: each is accepted once, and no descriptor is left behind.
#[test]
fn no_connection_is_lost() {
    calls::install();
    let connections = stress(2_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = thread::spawn(move || {
        let (mut accepted, mut interrupted) = (0, 0);
        while accepted < connections {
            match syscall::accept(&listener, &Wait::new()) {
                Ok((fd, from)) => {
                    assert!(from.to_inet().unwrap().ip().is_loopback());
                    let mut stream = TcpStream::from(fd);
                    let mut number = [0; 8];
                    stream.read_exact(&mut number).unwrap();
                    assert_eq!(u64::from_le_bytes(number), accepted);
                    accepted += 1;
                }
                Err(CallError::Interrupted(_)) => interrupted += 1,
                other => panic!("{other:?}"),
            }
        }
        // Nobody is left.
        let now = Wait::new().until(Instant::now()).shielded();
        assert!(matches!(syscall::accept(&listener, &now), Err(CallError::TimedOut)));
        let rest = quell::current().withdraw_all();
        (interrupted, rest as u64)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let disturber = disturber(9, 2, vec![target.thread().clone()], &stop, u64::MAX);
    for number in 0..connections {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&number.to_le_bytes()).unwrap();
        // Until it was read: the queue of the listener has an end.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    stop.store(true, SeqCst);
    let sent = disturber.join().unwrap();
    let (interrupted, rest) = target.join().unwrap();
    assert!(interrupted > 0 && interrupted + rest <= sent);
}

/// A connection that is being made goes on in the kernel when the call is interrupted.
#[test]
fn an_interrupted_connect_goes_on() {
    calls::install();
    // A listener whose queue is full drops what asks for more, which asks again after a second.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: shortens the queue.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let inet = listener.local_addr().unwrap();
    let _first = TcpStream::connect(inet).unwrap();
    // SAFETY: a new descriptor, owned here.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
    let tid = Arc::new(AtomicI32::new(0));
    let target = {
        let tid = Arc::clone(&tid);
        thread::spawn(move || {
            // SAFETY: asks who this is.
            tid.store(unsafe { libc::syscall(libc::SYS_gettid) } as i32, SeqCst);
            let ended = syscall::connect(&socket, &inet.into(), &Wait::new());
            (socket, ended)
        })
    };
    while !sleeps_in(&tid, libc::SYS_connect) {
        std::thread::yield_now();
    }
    target.thread().interrupt(Interrupt::new(()));
    let (socket, ended) = target.join().unwrap();
    assert!(matches!(ended, Err(CallError::Interrupted(_))), "{ended:?}");
    let _accepted = listener.accept().unwrap();
    syscall::connected(&socket, &Wait::new()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"hello").unwrap();
    let (mut second, _) = listener.accept().unwrap();
    let mut hello = [0; 5];
    second.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
}

/// An interrupted opening leaves no descriptor behind, and the next one works.
#[test]
fn an_interrupted_open_has_opened_nothing() {
    calls::install();
    let fifo = Arc::new(calls::TempFile::fifo());
    for round in 0..10 {
        quell::current().interrupt(Interrupt::new(round));
        let ended = syscall::open(&fifo.0, libc::O_RDONLY, 0, &Wait::new());
        assert!(matches!(ended, Err(CallError::Interrupted(_))));
        // Nobody reads.
        let flags = libc::O_WRONLY | libc::O_NONBLOCK;
        let other = syscall::open(&fifo.0, flags, 0, &Wait::new());
        assert_eq!(other.unwrap_err().os_error(), Some(libc::ENXIO));
    }
    let other = Arc::clone(&fifo);
    let writer = thread::spawn(move || syscall::open(&other.0, libc::O_WRONLY, 0, &Wait::new()));
    syscall::open(&fifo.0, libc::O_RDONLY, 0, &Wait::new()).unwrap();
    writer.join().unwrap().unwrap();
}

/// An interrupted wait for a lock holds none: it can be had by others, and given to them.
#[test]
fn an_interrupted_flock_holds_nothing() {
    calls::install();
    let path = calls::TempFile::new();
    let open = || std::fs::File::options().create(true).append(true).open(&path.0).unwrap();
    let (holder, other, third) = (open(), open(), open());
    syscall::flock(&holder, libc::LOCK_EX, &Wait::new()).unwrap();
    quell::current().interrupt(Interrupt::new(()));
    let ended = syscall::flock(&other, libc::LOCK_EX, &Wait::new());
    assert!(matches!(ended, Err(CallError::Interrupted(_))));
    syscall::flock(&holder, libc::LOCK_UN, &Wait::new()).unwrap();
    syscall::flock(&third, libc::LOCK_EX | libc::LOCK_NB, &Wait::new()).unwrap();
    let refused = syscall::flock(&other, libc::LOCK_EX | libc::LOCK_NB, &Wait::new());
    assert_eq!(refused.unwrap_err().os_error(), Some(libc::EWOULDBLOCK));
}

/// A process that waits keeps its status until somebody takes it.
#[test]
fn an_interrupted_wait_takes_no_status() {
    calls::install();
    let mut child = calls::Sleeper::start();
    for round in 0..10 {
        quell::current().interrupt(Interrupt::new(round));
        assert!(syscall::waitpid(child.number(), 0, &Wait::new()).is_err());
    }
    drop(child.0.stdin.take());
    let waited = syscall::waitpid(child.number(), 0, &Wait::new()).unwrap();
    assert_eq!(waited, (child.number(), 0));
}

/// What was written in part is said, and the interrupt stays pending.
#[test]
fn a_partial_write_is_returned() {
    calls::install();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: changes the size of the pipe.
    let room = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) } as usize;
    let tid = Arc::new(AtomicI32::new(0));
    let target = {
        let tid = Arc::clone(&tid);
        thread::spawn(move || {
            // SAFETY: asks who this is.
            tid.store(unsafe { libc::syscall(libc::SYS_gettid) } as i32, SeqCst);
            let written = syscall::write(&writer, &vec![1; 3 * 4096], &Wait::new());
            (written, quell::checkpoint().is_err())
        })
    };
    // Until the pipe is full and the thread sleeps in the middle of its write.
    while !sleeps_in(&tid, libc::SYS_write) {
        std::thread::yield_now();
    }
    target.thread().interrupt(Interrupt::new(()));
    let (written, interrupted_later) = target.join().unwrap();
    assert_eq!(written.unwrap(), room);
    assert!(interrupted_later);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), room);
}

/// Whether the thread sleeps in this system call.
fn sleeps_in(tid: &AtomicI32, number: libc::c_long) -> bool {
    let tid = tid.load(SeqCst);
    let Ok(file) = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")) else {
        return false;
    };
    file.split(' ').next() == Some(&number.to_string())
}
