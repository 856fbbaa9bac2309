//! Where every Python thread is, and what it does there: seen from outside, without the interpreter's help.
//!
//! The stacks come from the interpreter's own records, read as they stand; whether a thread runs or sleeps, and in
//! which system call, from the kernel.

use super::facts::{Place, State};
use super::procfs;
use crate::cpython::snapshot::{self, Frame, ThreadSnapshot};

/// A Python thread, with what it does.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) ident: u64,
    pub(super) native_id: u64,
    /// Innermost first; empty when it runs no Python code.
    pub(super) frames: Vec<Frame>,
    pub(super) state: State,
}

impl Seen {
    pub(super) fn is_main(&self, pid: i32) -> bool {
        self.native_id == pid as u64
    }

    /// Whether a main thread with this stack has left the script: nothing of it is on the stack, or what runs after it.
    pub(super) fn has_left_script(&self) -> bool {
        self.frames.len() < snapshot::MAX_FRAMES
            && self.frames.last().is_none_or(|outermost| {
                !matches!(
                    outermost.function.as_str(),
                    "<module>" | "_run_module_as_main" | "Thread._bootstrap"
                )
            })
    }

    /// Where it is, if it is in Python code.
    pub(super) fn place(&self) -> Option<Place> {
        let frame = self.frames.first()?;
        Some(Place {
            function: frame.function.clone(),
            file: frame.file.clone(),
            line: frame.line,
            state: self.state,
            called_from: match is_of_library(frame) {
                true => self.frames.iter().find(|f| !is_of_library(f)).cloned(),
                false => None,
            },
        })
    }
}

/// Whether a frame is of the standard library or of an installed package.
fn is_of_library(frame: &Frame) -> bool {
    frame.file.starts_with("<frozen ")
        || frame.file.contains("/lib/python3.")
        || frame.file.contains("/site-packages/")
}

/// All Python threads of the process, the main thread first.
pub(super) fn look(pid: i32) -> Vec<Seen> {
    let mut seen: Vec<Seen> = snapshot::all()
        .into_iter()
        .filter(|thread| !is_own(thread.native_id))
        .map(|ThreadSnapshot { ident, native_id, frames, .. }| Seen {
            ident,
            native_id,
            state: state_of(native_id, frames.is_empty()),
            frames,
        })
        .collect();
    // The interpreter lists the newest first.
    seen.reverse();
    seen.sort_by_key(|thread| !thread.is_main(pid));
    seen
}

/// Whether it is one of quell's threads, which may have asked the interpreter something.
fn is_own(native_id: u64) -> bool {
    procfs::thread(native_id).is_some_and(|stat| stat.name.starts_with("quell-"))
}

fn state_of(native_id: u64, no_frames: bool) -> State {
    let Some(stat) = procfs::thread(native_id) else { return State::Ended };
    match stat.state {
        'Z' | 'X' => State::Ended,
        'S' | 'D' => match procfs::system_call(native_id) {
            Some((number, word)) if number == libc::SYS_futex && is_interpreters(word) => {
                State::Running
            }
            Some((number, _)) => State::Blocked(name(number)),
            None => State::Blocked("the system"),
        },
        _ if no_frames => State::Native,
        _ => State::Running,
    }
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

/// The traceback of a thread as Python prints it, the most recent call last, with a title.
pub(super) fn traceback(title: &str, thread: &Seen) -> String {
    let mut text = format!("quell: {title}");
    if thread.frames.is_empty() {
        text.push_str(": in no Python code\n");
        return text;
    }
    text.push_str(" (most recent call last):\n");
    for frame in thread.frames.iter().rev() {
        text.push_str(&format!(
            "  File \"{}\", line {}, in {}\n",
            frame.file, frame.line, frame.function
        ));
        if let Some(source) = source_line(&frame.file, frame.line) {
            text.push_str(&format!("    {source}\n"));
        }
    }
    text
}

/// A line of a source file, if there is such a file.
fn source_line(file: &str, line: u32) -> Option<String> {
    /// Nobody wants a report to read more than that.
    const LARGEST: u64 = 16 << 20;
    let meta = std::fs::metadata(file).ok()?;
    if !meta.is_file() || meta.len() > LARGEST {
        return None;
    }
    let bytes = std::fs::read(file).ok()?;
    let line = bytes.split(|b| *b == b'\n').nth(line.checked_sub(1)? as usize)?;
    let text = String::from_utf8_lossy(line).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
