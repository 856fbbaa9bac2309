//! What the tests of system calls share: every kind of call that blocks, and who had the signal before quell.

#![allow(dead_code, reason = "every test file uses its own part")]

use quell::syscall::{self, Mechanism, Nap, PollFd, Setup};
use quell::{CallError, Wait};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io::{IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{LazyLock, Once};
use std::time::Duration;

thread_local! {
    /// How often the foreign handler ran in the current thread.
    static HITS: Cell<u64> = const { Cell::new(0) };
}

/// How often it ran for a signal that nobody but the test has sent.
static FOREIGN: AtomicU64 = AtomicU64::new(0);
/// What the test's own signals carry.
static FOREIGN_MARK: u8 = 0;

/// Installs a foreign handler on the signal, and then quell with this mechanism, once.
pub(crate) fn install(mechanism: Mechanism) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        on_signal(libc::SIGURG, foreign, libc::SA_RESTART);
        Setup::new().mechanism(mechanism).install().expect("the first use");
    });
}

extern "C" fn foreign(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    HITS.with(|h| h.set(h.get() + 1));
    // SAFETY: the kernel's argument.
    let mark = unsafe { (*info).si_value().sival_ptr };
    if mark.cast_const().cast() == &raw const FOREIGN_MARK {
        FOREIGN.fetch_add(1, SeqCst);
    }
}

/// How often the signal's foreign handler ran in this thread, for whatever reason.
pub(crate) fn hits() -> u64 {
    HITS.get()
}

/// How often it ran for a signal of the test's own, in the whole process.
pub(crate) fn foreign_hits() -> u64 {
    FOREIGN.load(SeqCst)
}

/// Sends the process itself, that is, any of its threads, the signal that quell uses.
pub(crate) fn send_foreign() {
    let value = libc::sigval { sival_ptr: (&raw const FOREIGN_MARK).cast_mut().cast() };
    // SAFETY: sends a signal that has a handler.
    assert_eq!(unsafe { libc::sigqueue(libc::getpid(), libc::SIGURG, value) }, 0);
}

pub(crate) fn on_signal(
    signal: c_int,
    handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
    flags: c_int,
) {
    // SAFETY: the handlers of these tests are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | flags;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// A call that blocks for ever. It panics if it succeeds.
pub(crate) type Blocks = Box<dyn FnMut(&Wait) -> Result<(), CallError> + Send>;

/// Every kind of call there is.
pub(crate) fn kinds() -> Vec<(&'static str, Blocks)> {
    vec![
        ("read", read()),
        ("readv", readv()),
        ("write", write()),
        ("poll", poll()),
        ("ppoll", ppoll()),
        ("select", select()),
        ("epoll_wait", epoll_wait()),
        ("waitpid", waitpid()),
        ("waitid", waitid()),
        ("nanosleep", nanosleep()),
        ("clock_nanosleep", clock_nanosleep()),
        ("futex_wait", futex_wait()),
        ("call", general()),
    ]
}

fn never(done: impl std::fmt::Debug) {
    panic!("nothing was there, and yet: {done:?}");
}

pub(crate) fn read() -> Blocks {
    let (reader, writer) = std::io::pipe().unwrap();
    Box::new(move |wait| {
        let _open = &writer;
        syscall::read(&reader, &mut [0; 8], wait).map(never)
    })
}

fn readv() -> Blocks {
    let (reader, writer) = std::io::pipe().unwrap();
    Box::new(move |wait| {
        let _open = &writer;
        let (mut a, mut b) = ([0; 4], [0; 4]);
        let mut buffers = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        syscall::readv(&reader, &mut buffers, wait).map(never)
    })
}

/// A pipe with no room.
pub(crate) fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: changes the size of the pipe.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    writer.write_all(&vec![0; size as usize]).unwrap();
    (reader, writer)
}

fn write() -> Blocks {
    let (reader, writer) = full_pipe();
    Box::new(move |wait| {
        let _open = &reader;
        syscall::write(&writer, &[1; 8], wait).map(never)
    })
}

fn poll() -> Blocks {
    let (reader, writer) = std::io::pipe().unwrap();
    Box::new(move |wait| {
        let _open = &writer;
        syscall::poll(&mut [PollFd::new(&reader, libc::POLLIN)], wait).map(never)
    })
}

fn ppoll() -> Blocks {
    Box::new(move |wait| {
        // SAFETY: a place for a set, which is then filled.
        let everything = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            set
        };
        syscall::ppoll(&mut [], Some(&everything), wait).map(never)
    })
}

fn select() -> Blocks {
    let (reader, writer) = std::io::pipe().unwrap();
    Box::new(move |wait| {
        let _open = &writer;
        let fd = reader.as_raw_fd();
        // SAFETY: a set of descriptors, and one below its limit.
        let mut set = unsafe {
            let mut set: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(fd, &raw mut set);
            set
        };
        let ended = syscall::select(fd as usize + 1, Some(&mut set), None, None, wait);
        // SAFETY: as above.
        assert!(unsafe { libc::FD_ISSET(fd, &raw const set) }, "the set is as it was");
        ended.map(never)
    })
}

fn epoll_wait() -> Blocks {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: a new descriptor, owned here.
    let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
    Box::new(move |wait| {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        syscall::epoll_wait(&epoll, &mut events, wait).map(never)
    })
}

/// A child that waits for its standard input to end, and then ends.
pub(crate) struct Sleeper(pub(crate) Child);

impl Sleeper {
    pub(crate) fn start() -> Sleeper {
        let mut cat = Command::new("cat");
        Sleeper(cat.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn number(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Gone already, if the test has waited for it.
        let _ = self.0.wait();
    }
}

fn waitpid() -> Blocks {
    let child = Sleeper::start();
    Box::new(move |wait| syscall::waitpid(child.number(), 0, wait).map(never))
}

fn waitid() -> Blocks {
    let child = Sleeper::start();
    Box::new(move |wait| {
        let ended = syscall::waitid(libc::P_PID, child.number() as u32, libc::WEXITED, wait);
        ended.map(|info| never(info.si_signo))
    })
}

fn nanosleep() -> Blocks {
    Box::new(|wait| syscall::nanosleep(Duration::from_secs(3600), wait).map(never))
}

fn clock_nanosleep() -> Blocks {
    Box::new(|wait| {
        let nap = Nap::Until(Duration::from_secs(1 << 35));
        syscall::clock_nanosleep(libc::CLOCK_REALTIME, nap, wait).map(never)
    })
}

fn futex_wait() -> Blocks {
    let word = AtomicU32::new(7);
    Box::new(move |wait| syscall::futex_wait(&word, 7, false, wait).map(never))
}

/// What has no function of its own: the general entry point, with a call that has none here.
fn general() -> Blocks {
    static SET: LazyLock<u64> = LazyLock::new(|| 1 << (libc::SIGUSR2 - 1));
    Box::new(|wait| {
        // Waits for a signal that nobody sends.
        let arguments = [&raw const *SET as usize, 0, 0, 8, 0, 0];
        // SAFETY: the kernel reads the set.
        unsafe { syscall::call(libc::SYS_rt_sigtimedwait, arguments, wait) }.map(never)
    })
}
