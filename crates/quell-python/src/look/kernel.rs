//! What a thread does, as the kernel tells: whether it runs or sleeps, and in which system call.

use crate::procfs;

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It executes, or waits for its turn to execute, Python code.
    Running,
    /// It sleeps in the system.
    Blocked(&'static str),
    /// It executes native code.
    Native,
    /// It has ended; of a script's main thread, nothing of the script is on its stack.
    Ended,
}

impl State {
    /// In a word, as reports in JSON have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Blocked(_) => "blocked",
            State::Native => "native",
            State::Ended => "ended",
        }
    }
}

/// What the thread with this number does. `is_bare`: no Python code is on its stack.
pub(crate) fn state_of(native_id: u64, is_bare: bool) -> State {
    match seen(native_id) {
        Seen::Gone => State::Ended,
        Seen::Asleep(call) => State::Blocked(call),
        Seen::Executes if is_bare => State::Native,
        Seen::Executes | Seen::AsksForTheInterpreter => State::Running,
    }
}

/// The same of another thread, by a thread that has the GIL: what executes then is no Python code.
///
/// A thread that has just given up the GIL, and is about to ask for it again, executes for a moment; it is looked at again.
pub(super) fn state_beside(native_id: u64) -> State {
    const LOOKS: u32 = 3;
    for _ in 0..LOOKS {
        match seen(native_id) {
            Seen::Gone => return State::Ended,
            Seen::Asleep(call) => return State::Blocked(call),
            Seen::AsksForTheInterpreter => return State::Running,
            Seen::Executes => std::thread::yield_now(),
        }
    }
    State::Native
}

enum Seen {
    Gone,
    Asleep(&'static str),
    AsksForTheInterpreter,
    Executes,
}

fn seen(native_id: u64) -> Seen {
    let Some(stat) = procfs::thread(native_id) else { return Seen::Gone };
    match stat.state {
        'Z' | 'X' => Seen::Gone,
        'S' | 'D' => match procfs::system_call(native_id) {
            Some((number, word)) if number == libc::SYS_futex && is_interpreters(word) => {
                Seen::AsksForTheInterpreter
            }
            Some((number, _)) => Seen::Asleep(name(number)),
            None => Seen::Asleep("the system"),
        },
        _ => Seen::Executes,
    }
}

/// Whether it is one of quell's own threads, which may be asking the interpreter something.
pub(crate) fn is_own(native_id: u64) -> bool {
    procfs::thread(native_id).is_some_and(|stat| stat.name.starts_with("quell-"))
}

/// Whether a futex is one of the interpreter's global state: a thread that sleeps there waits for its turn to run, while
/// the locks of programs are on the heap.
fn is_interpreters(word: u64) -> bool {
    unsafe extern "C" {
        static _PyRuntime: u8;
    }
    /// The structure takes 60 to 500 KiB, by version.
    const SIZE: u64 = 512 << 10;
    let start = &raw const _PyRuntime as u64;
    (start..start + SIZE).contains(&word)
}

/// The system calls that Python programs sleep in, as a reader would name them.
fn name(number: i64) -> &'static str {
    match number {
        libc::SYS_futex => "a lock",
        libc::SYS_clock_nanosleep | libc::SYS_nanosleep => "sleep",
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv => "read",
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev => "write",
        libc::SYS_pselect6 => "select",
        libc::SYS_ppoll => "poll",
        libc::SYS_epoll_pwait => "epoll_wait",
        libc::SYS_wait4 | libc::SYS_waitid => "wait for a child",
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => "recv",
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendfile => "send",
        libc::SYS_accept | libc::SYS_accept4 => "accept",
        libc::SYS_connect => "connect",
        libc::SYS_flock | libc::SYS_fcntl => "a file lock",
        libc::SYS_fsync | libc::SYS_fdatasync => "fsync",
        libc::SYS_openat => "open",
        libc::SYS_rt_sigtimedwait => "sigwait",
        libc::SYS_semtimedop => "a semaphore",
        libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => "a message queue",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => "poll",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => "select",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => "epoll_wait",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => "open",
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pause => "pause",
        _ => "a system call",
    }
}
