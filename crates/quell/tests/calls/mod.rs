//! What the tests of system calls share: every kind of call that blocks, and who had the signal before quell.

#![allow(dead_code, reason = "every test file uses its own part")]

use quell::syscall::{self, Address, Nap, PollFd, RangeOwner, Setup};
use quell::{CallError, Wait};
use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
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

/// Installs a foreign handler on the signal, and then quell with the mechanism of who includes this, once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        on_signal(libc::SIGURG, foreign, libc::SA_RESTART);
        Setup::new().mechanism(crate::MECHANISM).install().expect("the first use");
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
        ("writev", writev()),
        ("poll", poll()),
        ("ppoll", ppoll()),
        ("select", select()),
        ("epoll_wait", epoll_wait()),
        ("waitpid", waitpid()),
        ("waitid", waitid()),
        ("nanosleep", nanosleep()),
        ("clock_nanosleep", clock_nanosleep()),
        ("futex_wait", futex_wait()),
        ("accept", accept()),
        ("connect", connect()),
        ("recv", recv()),
        ("recvfrom", recvfrom()),
        ("recvmsg", recvmsg()),
        ("send", send()),
        ("sendto", sendto()),
        ("sendmsg", sendmsg()),
        ("open", open()),
        ("flock", flock()),
        ("lock_range", lock_range()),
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

fn writev() -> Blocks {
    let (reader, writer) = full_pipe();
    Box::new(move |wait| {
        let _open = &reader;
        let (a, b) = ([1; 4], [2; 4]);
        syscall::writev(&writer, &[IoSlice::new(&a), IoSlice::new(&b)], wait).map(never)
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

pub(crate) fn accept() -> Blocks {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Box::new(move |wait| syscall::accept(&listener, wait).map(never))
}

/// A name in the abstract name space that nobody else has.
pub(crate) fn unix_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("\0quell-test-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst))
}

/// A Unix socket.
pub(crate) fn unix_socket(kind: c_int) -> OwnedFd {
    // SAFETY: a new descriptor, owned here.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0);
    // SAFETY: as above.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// To a listener whose queue is full.
fn connect() -> Blocks {
    let name = unix_name();
    let address = Address::unix(&name).unwrap();
    let listener = unix_socket(libc::SOCK_STREAM);
    // SAFETY: binds and listens; the address is what std would make of it.
    unsafe {
        let mut raw: libc::sockaddr_un = std::mem::zeroed();
        raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
        for (to, from) in raw.sun_path.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + name.len();
        let bound = libc::bind(listener.as_raw_fd(), (&raw const raw).cast(), length as u32);
        assert_eq!(bound, 0);
        assert_eq!(libc::listen(listener.as_raw_fd(), 0), 0);
    }
    let first = unix_socket(libc::SOCK_STREAM);
    syscall::connect(&first, &address, &Wait::new().shielded()).unwrap();
    let second = unix_socket(libc::SOCK_STREAM);
    Box::new(move |wait| {
        let _kept = (&listener, &first);
        syscall::connect(&second, &address, wait).map(never)
    })
}

fn recv() -> Blocks {
    let (here, there) = UnixStream::pair().unwrap();
    Box::new(move |wait| {
        let _open = &there;
        syscall::recv(&here, &mut [0; 8], 0, wait).map(never)
    })
}

fn recvfrom() -> Blocks {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    Box::new(move |wait| syscall::recvfrom(&socket, &mut [0; 8], 0, wait).map(never))
}

/// A message of one buffer.
pub(crate) fn message(buffer: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: plain data, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = buffer;
    message.msg_iovlen = 1;
    message
}

fn recvmsg() -> Blocks {
    let (here, there) = UnixStream::pair().unwrap();
    Box::new(move |wait| {
        let _open = &there;
        let mut bytes = [0u8; 8];
        let mut buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
        // SAFETY: the message is of one buffer, of ours.
        unsafe { syscall::recvmsg(&here, &mut message(&mut buffer), 0, wait) }.map(never)
    })
}

/// A pair of which the first has no room to send.
fn full_pair() -> (UnixStream, UnixStream) {
    let (mut here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    while here.write(&[0; 4096]).is_ok() {}
    here.set_nonblocking(false).unwrap();
    (here, there)
}

fn send() -> Blocks {
    let (here, there) = full_pair();
    Box::new(move |wait| {
        let _open = &there;
        syscall::send(&here, &[1; 8], 0, wait).map(never)
    })
}

/// Datagrams to a socket that takes no more.
fn sendto() -> Blocks {
    let path = TempFile::new();
    let there = UnixDatagram::bind(&path.0).unwrap();
    let here = UnixDatagram::unbound().unwrap();
    let address = Address::unix(&path.0).unwrap();
    here.set_nonblocking(true).unwrap();
    while here.send_to(&[0; 8], &path.0).is_ok() {}
    here.set_nonblocking(false).unwrap();
    Box::new(move |wait| {
        let _kept = (&path, &there);
        syscall::sendto(&here, &[1; 8], 0, &address, wait).map(never)
    })
}

fn sendmsg() -> Blocks {
    let (here, there) = full_pair();
    Box::new(move |wait| {
        let _open = &there;
        let mut bytes = [1u8; 8];
        let mut buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
        // SAFETY: the message is of one buffer, of ours.
        unsafe { syscall::sendmsg(&here, &message(&mut buffer), 0, wait) }.map(never)
    })
}

/// A file of its own for a test, gone when it is dropped.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn new() -> TempFile {
        TempFile(std::env::temp_dir().join(&unix_name()[1..]))
    }

    pub(crate) fn fifo() -> TempFile {
        let file = TempFile::new();
        let path = CString::new(file.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: a valid path.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        file
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn open() -> Blocks {
    let fifo = TempFile::fifo();
    Box::new(move |wait| syscall::open(&fifo.0, libc::O_RDONLY, 0, wait).map(never))
}

fn flock() -> Blocks {
    let path = TempFile::new();
    let holder = File::create(&path.0).unwrap();
    let other = File::open(&path.0).unwrap();
    syscall::flock(&holder, libc::LOCK_EX, &Wait::new().shielded()).unwrap();
    Box::new(move |wait| {
        let _kept = (&path, &holder);
        syscall::flock(&other, libc::LOCK_EX, wait).map(never)
    })
}

/// The whole file.
pub(crate) fn range(kind: c_int) -> libc::flock {
    // SAFETY: plain data, for which zero is a value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range
}

fn lock_range() -> Blocks {
    let path = TempFile::new();
    let holder = File::create(&path.0).unwrap();
    let other = File::options().write(true).open(&path.0).unwrap();
    let lock = |file: &File, wait: &Wait| {
        syscall::lock_range(file, RangeOwner::OpenFile, &range(libc::F_WRLCK), wait)
    };
    lock(&holder, &Wait::new().shielded()).unwrap();
    Box::new(move |wait| {
        let _kept = (&path, &holder);
        lock(&other, wait).map(never)
    })
}
