//! Deadlines of system calls: each ends its own call, and only one that would have to wait. Included by one file for each
//! mechanism, as the guarantees.

use crate::calls::{self, kinds};
use crate::common::{Random, stress};
use quell::syscall::PollFd;
use quell::{CallError, Wait, syscall};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn deadlines_are_kept() {
    calls::install();
    for (name, mut blocks) in kinds() {
        let start = Instant::now();
        let ended = blocks(&Wait::new().timeout(Duration::from_millis(20)));
        assert!(matches!(ended, Err(CallError::TimedOut)), "{name}: {ended:?}");
        assert!(start.elapsed() >= Duration::from_millis(20), "{name}");
        // A deadline that has passed ends a call without a signal: it is not begun, or in a form that does not wait.
        let before = calls::hits();
        let passed = blocks(&Wait::new().until(start));
        assert!(matches!(passed, Err(CallError::TimedOut)), "{name}: {passed:?}");
        assert_eq!(calls::hits(), before, "{name}");
    }
}

/// Deadlines at random moments, around the end of the call before: each ends its own call, and the next is not hurt.
#[test]
fn deadlines_end_their_own_call_only() {
    calls::install();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut random = Random::new(1);
    for _ in 0..stress(500) {
        let short = Wait::new().timeout(Duration::from_nanos(random.below(60_000)));
        let ended = syscall::read(&reader, &mut [0; 1], &short);
        assert!(matches!(ended, Err(CallError::TimedOut)), "{ended:?}");
        writer.write_all(b"x").unwrap();
        // Something is there, so its deadline never gets its turn.
        let long = Wait::new().timeout(Duration::from_secs(3600));
        assert_eq!(syscall::read(&reader, &mut [0; 1], &long).unwrap(), 1);
    }
}

/// With a deadline that has passed, what need not wait is done.
#[test]
fn a_deadline_that_has_passed_lets_through_what_is_there() {
    calls::install();
    let passed = Wait::new().until(Instant::now());
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"ab").unwrap();
    assert_eq!(syscall::read(&reader, &mut [0; 1], &passed).unwrap(), 1);
    assert_eq!(syscall::poll(&mut [PollFd::new(&reader, libc::POLLIN)], &passed).unwrap(), 1);
    assert_eq!(syscall::write(&writer, b"c", &passed).unwrap(), 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    syscall::accept(&listener, &passed).unwrap();
    let path = calls::TempFile::new();
    let file = std::fs::File::create(&path.0).unwrap();
    syscall::flock(&file, libc::LOCK_EX, &passed).unwrap();
    let range = calls::range(libc::F_WRLCK);
    syscall::lock_range(&file, syscall::RangeOwner::Process, &range, &passed).unwrap();
    let number = std::process::Command::new("true").spawn().unwrap().id();
    syscall::waitid(libc::P_PID, number, libc::WEXITED | libc::WNOWAIT, &Wait::new()).unwrap();
    assert_eq!(syscall::waitpid(number as i32, 0, &passed).unwrap(), (number as i32, 0));
}

/// Nor does it matter at which moment of the call's beginning it passes.
#[test]
fn a_deadline_that_passes_meanwhile_lets_through_what_is_there() {
    calls::install();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"a").unwrap();
    let path = calls::TempFile::new();
    let file = std::fs::File::create(&path.0).unwrap();
    let range = calls::range(libc::F_WRLCK);
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let ended = libc::WEXITED | libc::WNOWAIT;
    syscall::waitid(libc::P_PID, child.id(), ended, &Wait::new()).unwrap();
    let mut random = Random::new(2);
    for _ in 0..stress(20_000) {
        let mut soon = || Wait::new().timeout(Duration::from_nanos(random.below(4_000)));
        assert_eq!(syscall::read(&reader, &mut [0; 1], &soon()).unwrap(), 1);
        assert_eq!(syscall::write(&writer, b"a", &soon()).unwrap(), 1);
        syscall::flock(&file, libc::LOCK_EX, &soon()).unwrap();
        syscall::lock_range(&file, syscall::RangeOwner::Process, &range, &soon()).unwrap();
        syscall::waitid(libc::P_PID, child.id(), ended, &soon()).unwrap();
    }
    child.wait().unwrap();
}
