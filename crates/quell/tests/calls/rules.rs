//! POSIX's rule for a call that is cancelled, of each call in turn: one that was interrupted has had no effect, one that had an
//! effect tells. Each makes its call again and again, while what it waits for comes and interrupts fly, both at random
//! moments. Included by one file for each mechanism, as the guarantees.

use crate::calls::{self, TempFile, message, range};
use crate::common::{Random, stress};
use quell::syscall::{PollFd, RangeOwner};
use quell::{CallError, Interrupt, Wait, syscall, thread};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

/// Runs `call` so often in a thread that is interrupted all the time, at random moments, until it has succeeded `rounds`
/// times; `provide(n)` sees to it, in this thread, that the `n`th can. `call` is told how often it has succeeded, and says
/// whether it has now. Returns how many rounds that took: more, if none was interrupted in so many.
fn raced(
    rounds: u64,
    mut provide: impl FnMut(u64),
    mut call: impl FnMut(u64, &Wait) -> Result<(), CallError> + Send + 'static,
) -> u64 {
    calls::install();
    let succeeded = Arc::new(AtomicU64::new(0));
    // How many rounds there are, once that is known.
    let all = Arc::new(AtomicU64::new(u64::MAX));
    let target = {
        let (succeeded, all) = (Arc::clone(&succeeded), Arc::clone(&all));
        thread::spawn(move || {
            let (mut interrupted, mut round) = (0, 0);
            loop {
                loop {
                    match call(round, &Wait::new()) {
                        Ok(()) => break,
                        Err(CallError::Interrupted(_)) => interrupted += 1,
                        other => panic!("round {round}: {other:?}"),
                    }
                }
                round += 1;
                let done = round >= rounds && interrupted > 0;
                if done {
                    all.store(round, SeqCst);
                }
                succeeded.store(round, SeqCst);
                if done {
                    break;
                }
            }
        })
    };
    // One at a time, so that the call begins between two of them.
    let disturbed = target.thread().clone();
    let disturber = thread::spawn(move || {
        let mut random = Random::new(!rounds);
        while disturbed.is_alive() {
            disturbed.interrupt(Interrupt::new(())).wait(None).unwrap();
            for _ in 0..random.below(10_000) {
                std::hint::spin_loop();
            }
        }
    });
    let mut random = Random::new(rounds);
    let mut round = 0;
    // If the target has panicked, nothing waits.
    while round < all.load(SeqCst) && (target.thread().is_alive() || succeeded.load(SeqCst) > round)
    {
        for _ in 0..random.below(3000) {
            std::hint::spin_loop();
        }
        provide(round);
        while succeeded.load(SeqCst) <= round && target.thread().is_alive() {
            std::thread::yield_now();
        }
        round += 1;
    }
    target.join().unwrap();
    disturber.join().unwrap();
    round
}

/// A message with a number comes whole, once, and in order.
fn takes_nothing(
    mut receive: impl FnMut(&UdpSocket, &mut [u8], &Wait) -> Result<usize, CallError> + Send + 'static,
) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(socket.local_addr().unwrap()).unwrap();
    let provide = |round: u64| assert_eq!(sender.send(&round.to_le_bytes()).unwrap(), 8);
    raced(stress(2_000), provide, move |round, wait| {
        let mut bytes = [0; 16];
        let got = receive(&socket, &mut bytes, wait)?;
        assert_eq!(got, 8);
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), round);
        Ok(())
    });
}

#[test]
fn an_interrupted_read_takes_nothing() {
    takes_nothing(|socket, bytes, wait| syscall::read(socket, bytes, wait));
}

#[test]
fn an_interrupted_readv_takes_nothing() {
    takes_nothing(|socket, bytes, wait| {
        let (a, b) = bytes.split_at_mut(3);
        syscall::readv(socket, &mut [IoSliceMut::new(a), IoSliceMut::new(b)], wait)
    });
}

#[test]
fn an_interrupted_recv_takes_nothing() {
    takes_nothing(|socket, bytes, wait| syscall::recv(socket, bytes, 0, wait));
}

#[test]
fn an_interrupted_recvfrom_takes_nothing() {
    takes_nothing(|socket, bytes, wait| {
        let (got, from) = syscall::recvfrom(socket, bytes, 0, wait)?;
        assert!(from.to_inet().unwrap().ip().is_loopback());
        Ok(got)
    });
}

#[test]
fn an_interrupted_recvmsg_takes_nothing() {
    takes_nothing(|socket, bytes, wait| {
        let mut buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: the message is of one buffer, of ours.
        unsafe { syscall::recvmsg(socket, &mut message(&mut buffer), 0, wait) }
    });
}

/// What any other call reads.
#[test]
fn an_interrupted_call_takes_nothing() {
    takes_nothing(|socket, bytes, wait| {
        let fd = socket.as_raw_fd() as usize;
        let arguments = [fd, bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0];
        // SAFETY: the kernel writes into the bytes.
        unsafe { syscall::call(libc::SYS_recvfrom, arguments, wait) }
    });
}

/// A message goes whole, once, and in order, or not at all: the peer makes room by taking one, and sees each number once.
fn gives_nothing(
    mut send: impl FnMut(&OwnedFd, &[u8], &Wait) -> Result<usize, CallError> + Send + 'static,
) {
    let (here, there) = messages();
    let mut expected = 0_u64;
    // Full but for the first.
    let rounds = raced(
        stress(2_000),
        |_| {
            let mut bytes = [0; 16];
            // SAFETY: the kernel writes into the bytes.
            let got = unsafe { libc::recv(there.as_raw_fd(), bytes.as_mut_ptr().cast(), 16, 0) };
            assert_eq!(got, 8);
            assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), expected);
            expected += 1;
        },
        move |round, wait| {
            assert_eq!(send(&here, &round.to_le_bytes(), wait)?, 8);
            Ok(())
        },
    );
    assert_eq!(expected, rounds);
    // And nothing more.
    // SAFETY: asks for a byte.
    let more = unsafe {
        libc::recv(there.as_raw_fd(), [0_u8; 8].as_mut_ptr().cast(), 8, libc::MSG_DONTWAIT)
    };
    assert!(more <= 0);
}

/// A pair of sockets that keep messages apart, with little room.
fn messages() -> (OwnedFd, OwnedFd) {
    let mut pair = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two descriptors, owned here.
    unsafe {
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()), 0);
        let small: libc::c_int = 1;
        let (at, size) = ((&raw const small).cast(), 4);
        libc::setsockopt(pair[0], libc::SOL_SOCKET, libc::SO_SNDBUF, at, size);
        (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1]))
    }
}

#[test]
fn an_interrupted_write_gives_nothing() {
    gives_nothing(|socket, bytes, wait| syscall::write(socket, bytes, wait));
}

#[test]
fn an_interrupted_writev_gives_nothing() {
    gives_nothing(|socket, bytes, wait| {
        syscall::writev(socket, &[IoSlice::new(&bytes[..3]), IoSlice::new(&bytes[3..])], wait)
    });
}

#[test]
fn an_interrupted_send_gives_nothing() {
    gives_nothing(|socket, bytes, wait| syscall::send(socket, bytes, 0, wait));
}

#[test]
fn an_interrupted_sendmsg_gives_nothing() {
    gives_nothing(|socket, bytes, wait| {
        let mut buffer =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: the message is of one buffer, of ours.
        unsafe { syscall::sendmsg(socket, &message(&mut buffer), 0, wait) }
    });
}

/// With MSG_WAITALL, what has come is told when an interrupt does, and none of it is lost.
#[test]
fn a_receive_of_all_tells_what_has_come() {
    // Until one was cut, however few rounds are asked for.
    while receives_of_all_that_were_cut() == 0 {}
}

fn receives_of_all_that_were_cut() -> u64 {
    const SIZE: usize = 5;
    let (here, there) = UnixStream::pair().unwrap();
    let parts = Arc::new(AtomicU64::new(0));
    let in_parts = Arc::clone(&parts);
    let mut random = Random::new(31);
    let provide = |round: u64| {
        for _ in 0..SIZE {
            assert_eq!(std::io::Write::write(&mut &there, &[round as u8]).unwrap(), 1);
            for _ in 0..random.below(1000) {
                std::hint::spin_loop();
            }
        }
    };
    let mut at = 0;
    raced(stress(2_000), provide, move |round, wait| {
        while at < SIZE {
            let mut bytes = [0; SIZE];
            let got = syscall::recv(&here, &mut bytes[at..], libc::MSG_WAITALL, wait)?;
            assert!(got > 0 && bytes[at..at + got].iter().all(|&byte| byte == round as u8));
            in_parts.fetch_add(u64::from(got < SIZE - at), SeqCst);
            at += got;
        }
        at = 0;
        Ok(())
    });
    parts.load(SeqCst)
}

/// A look at what is ready takes nothing, so that an event that is told once only is told by the call that returns.
#[test]
fn an_interrupted_epoll_wait_takes_no_event() {
    let (reader, writer) = UnixStream::pair().unwrap();
    // SAFETY: a new descriptor, owned here; and one that is watched by it.
    let epoll = unsafe {
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
        let mut event =
            libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 9 };
        let (at, fd) = (&raw mut event, reader.as_raw_fd());
        assert_eq!(libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, at), 0);
        epoll
    };
    // Each byte is an edge: it is told once, and a lost one would hang the test.
    let provide = |_| assert_eq!(std::io::Write::write(&mut &writer, b"x").unwrap(), 1);
    raced(stress(2_000), provide, move |_, wait| {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        assert_eq!(syscall::epoll_wait(&epoll, &mut events, wait)?, 1);
        assert_eq!({ events[0].u64 }, 9);
        assert_eq!(Read::read(&mut &reader, &mut [0; 4]).unwrap(), 1);
        Ok(())
    });
}

/// The others that wait for descriptors: what they tell is there, and their sets are as they were if they tell nothing.
#[test]
fn interrupted_polls_and_selects_report_nothing() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let provide = |_| assert_eq!(std::io::Write::write(&mut &writer, b"x").unwrap(), 1);
    raced(stress(3_000), provide, move |round, wait| {
        match round % 3 {
            0 | 1 => {
                let mut fds = [PollFd::new(&reader, libc::POLLIN)];
                let found = match round % 3 {
                    0 => syscall::poll(&mut fds, wait),
                    _ => syscall::ppoll(&mut fds, None, wait),
                };
                if found.is_err() {
                    assert_eq!(fds[0].revents(), 0);
                }
                assert_eq!(found?, 1);
                assert_eq!(fds[0].revents(), libc::POLLIN);
            }
            _ => {
                let fd = reader.as_raw_fd();
                // SAFETY: a set of descriptors, and one below its limit.
                let mut set = unsafe {
                    let mut set: libc::fd_set = std::mem::zeroed();
                    libc::FD_SET(fd, &raw mut set);
                    set
                };
                let found = syscall::select(fd as usize + 1, Some(&mut set), None, None, wait);
                // SAFETY: as above.
                assert!(unsafe { libc::FD_ISSET(fd, &raw const set) });
                assert_eq!(found?, 1);
            }
        }
        assert_eq!(Read::read(&mut &reader, &mut [0; 4]).unwrap(), 1);
        Ok(())
    });
}

/// A wake-up goes to somebody who tells: as many were woken as returned.
#[test]
fn an_interrupted_futex_wait_takes_no_wake_up() {
    static WORD: AtomicU32 = AtomicU32::new(7);
    let provide = |_| loop {
        let arguments = (WORD.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
        // SAFETY: wakes who waits at the word.
        let woken =
            unsafe { libc::syscall(libc::SYS_futex, arguments.0, arguments.1, arguments.2) };
        // It may be between two calls.
        if woken == 1 {
            return;
        }
    };
    raced(stress(2_000), provide, |_, wait| {
        assert!(syscall::futex_wait(&WORD, 7, false, wait)?);
        Ok(())
    });
}

/// A child's status is taken by the call that tells it.
#[test]
fn an_interrupted_wait_for_a_child_takes_no_status() {
    let current = Arc::new(AtomicU32::new(0));
    let number = Arc::clone(&current);
    let rounds = stress(60);
    raced(
        rounds,
        |_| {
            #[expect(clippy::zombie_processes, reason = "the call under test waits for it")]
            let child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
            current.store(child.id(), SeqCst);
        },
        move |round, wait| {
            // The child of this round is not there yet.
            let child = loop {
                match number.load(SeqCst) {
                    0 => quell::checkpoint().map_err(CallError::Interrupted)?,
                    child => break child,
                }
            };
            if round % 2 == 0 {
                assert_eq!(syscall::waitpid(child as i32, 0, wait)?, (child as i32, 0));
            } else {
                let info = syscall::waitid(libc::P_PID, child, libc::WEXITED, wait)?;
                // SAFETY: filled in by waitid.
                assert_eq!(unsafe { info.si_pid() }, child as i32);
            }
            number.store(0, SeqCst);
            // It was there to be taken once.
            let again = syscall::waitpid(child as i32, 0, &Wait::new().shielded());
            assert_eq!(again.unwrap_err().os_error(), Some(libc::ECHILD));
            Ok(())
        },
    );
}

/// A lock is held by who was told so, and by nobody who was interrupted.
fn holds_nothing(
    lock: impl Fn(&File, &Wait) -> Result<(), CallError> + Copy + Send + 'static,
    unlock: impl Fn(&File) + Copy + Send + 'static,
) {
    let path = TempFile::new();
    let open = || File::options().create(true).append(true).open(&path.0).unwrap();
    let (holder, other, third) = (open(), open(), open());
    // The locks are `flock`'s and those of open files, so each descriptor is somebody of its own.
    let free = Wait::new().shielded();
    let now = Wait::new().until(std::time::Instant::now()).shielded();
    lock(&holder, &free).unwrap();
    let held = Arc::new(AtomicBool::new(true));
    let is_held = Arc::clone(&held);
    let provide = move |_| {
        held.store(false, SeqCst);
        unlock(&holder);
        // Again, once the other has had it and said so.
        while !held.load(SeqCst) {
            std::thread::yield_now();
        }
        lock(&holder, &free).unwrap();
        held.store(false, SeqCst);
    };
    raced(stress(500), provide, move |_, wait| {
        lock(&other, wait)?;
        // Nobody else can have it.
        assert!(matches!(lock(&third, &now), Err(CallError::TimedOut)));
        unlock(&other);
        is_held.store(true, SeqCst);
        while is_held.load(SeqCst) {
            std::thread::yield_now();
        }
        Ok(())
    });
}

#[test]
fn an_interrupted_flock_leaves_no_lock() {
    holds_nothing(
        |file, wait| syscall::flock(file, libc::LOCK_EX, wait),
        |file| syscall::flock(file, libc::LOCK_UN, &Wait::new().shielded()).unwrap(),
    );
}

#[test]
fn an_interrupted_lock_of_a_range_leaves_no_lock() {
    holds_nothing(
        |file, wait| syscall::lock_range(file, RangeOwner::OpenFile, &range(libc::F_WRLCK), wait),
        |file| {
            let free = range(libc::F_UNLCK);
            syscall::lock_range(file, RangeOwner::OpenFile, &free, &Wait::new().shielded())
                .unwrap();
        },
    );
}

/// An opening of a FIFO that was interrupted leaves nobody at its end, and no descriptor.
#[test]
fn an_interrupted_open_leaves_nothing_open() {
    let fifo = Arc::new(TempFile::fifo());
    let path = Arc::clone(&fifo);
    let closed = Arc::new(AtomicU64::new(0));
    let is_closed = Arc::clone(&closed);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let provide = move |_| {
        let flags = libc::O_WRONLY | libc::O_NONBLOCK;
        // Until the reader is there; and if that one is interrupted just then, its open has succeeded all the same.
        while let Err(error) = syscall::open(&path.0, flags, 0, &Wait::new().shielded()) {
            assert_eq!(error.os_error(), Some(libc::ENXIO));
        }
        closed.fetch_add(1, SeqCst);
    };
    raced(stress(1_000), provide, move |round, wait| {
        drop(syscall::open(&fifo.0, libc::O_RDONLY, 0, wait)?);
        // One writer serves one reader.
        while is_closed.load(SeqCst) <= round {
            std::thread::yield_now();
        }
        Ok(())
    });
    // Other tests of this process may have some open; a thousand would be seen.
    assert!(descriptors() < before + 500);
}

/// A sleep that was interrupted has not slept its time, and one that returns has.
#[test]
fn a_sleep_tells_the_truth() {
    use std::time::{Duration, Instant};
    raced(
        stress(500),
        |_| (),
        |round, wait| {
            let time = Duration::from_micros(50);
            let start = Instant::now();
            match round % 2 {
                0 => syscall::nanosleep(time, wait)?,
                _ => {
                    let nap = syscall::Nap::For(time);
                    syscall::clock_nanosleep(libc::CLOCK_MONOTONIC, nap, wait)?;
                }
            }
            assert!(start.elapsed() >= time);
            Ok(())
        },
    );
}

/// A connection that an interrupted call has begun stands, or is refused, as if nobody had interrupted it; and one that returns
/// stands.
#[test]
fn an_interrupted_connect_is_finished() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let provide = |_| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut number = [0; 8];
        stream.read_exact(&mut number).unwrap();
    };
    let mut socket = None;
    raced(stress(500), provide, move |round, wait| {
        let begun = socket.is_some();
        let fd = socket.get_or_insert_with(|| {
            // SAFETY: a new descriptor, owned here.
            unsafe {
                let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
                OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, kind, 0))
            }
        });
        match syscall::connect(&*fd, &address.into(), wait) {
            Ok(()) => {}
            // The one before has begun it, and it goes on or stands.
            Err(CallError::Os(error))
                if begun
                    && matches!(
                        error.raw_os_error(),
                        Some(libc::EISCONN | libc::EALREADY | libc::EINPROGRESS)
                    ) =>
            {
                syscall::connected(&*fd, wait)?;
            }
            Err(other) => return Err(other),
        }
        // SAFETY: it is open as long as the call.
        let connected = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        let shielded = Wait::new().shielded();
        assert_eq!(syscall::send(connected, &round.to_le_bytes(), 0, &shielded)?, 8);
        socket = None;
        Ok(())
    });
}
