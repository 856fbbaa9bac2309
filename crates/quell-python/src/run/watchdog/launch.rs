//! Starting the watchdog so that the script's process is left as it was.
//!
//! It is a grandchild whose parent has ended, so the script has no child that it did not make. The process between the two
//! is one that gives no signal when it ends and that a plain `wait` does not see. Both share this process's memory until
//! the watchdog's program is loaded (as with vfork, and the calling thread sleeps meanwhile), so a script that uses much memory does
//! not wait for its page tables to be copied, no handler that a library has registered for forks is run, and nothing of
//! the script's memory is kept alive.
//!
//! What shares memory must not allocate, lock or return: everything is prepared before, and both only make system calls.

use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;

/// How this program is started again: `/proc/self/exe` is loaded, and this is put before the command `watchdog`.
#[derive(Debug, Clone)]
pub struct Relaunch(Vec<OsString>);

impl Relaunch {
    /// The command itself.
    #[must_use]
    pub fn binary() -> Self {
        Self(vec!["quell".into()])
    }

    /// An interpreter, by the name under which it finds its library, and the extension's file.
    #[must_use]
    pub(in super::super) fn module(executable: OsString, extension: OsString) -> Self {
        /// Without the package and without anything else of the environment's: the extension is all that is needed.
        const CODE: &str = "import sys
from _frozen_importlib import ModuleSpec, module_from_spec
from _frozen_importlib_external import ExtensionFileLoader
del sys.argv[0]
loader = ExtensionFileLoader('quell._quell', sys.argv[0])
module = module_from_spec(ModuleSpec('quell._quell', loader, origin=sys.argv[0]))
loader.exec_module(module)
module._command()
";
        let mut words = vec![executable];
        // An interpreter that is told where its library is has to be told again.
        match std::env::var_os("PYTHONHOME") {
            None => words.push("-I".into()),
            Some(_) => words.extend(["-s", "-P"].map(OsString::from)),
        }
        words.extend(["-S", "-c", CODE].map(OsString::from));
        words.push(extension);
        Self(words)
    }
}

static RELAUNCH: OnceLock<Relaunch> = OnceLock::new();

/// To be told before the script starts; without it there is no watchdog.
pub fn set_relaunch(relaunch: Relaunch) {
    let _ = RELAUNCH.set(relaunch);
}

/// The environment of this process. GIL held: Python changes it only so.
pub(super) fn environment() -> Vec<CString> {
    let pairs = std::env::vars_os().map(|(name, value)| {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        pair
    });
    // Strings of the environment hold no zero byte.
    pairs.filter_map(|pair| CString::new(pair.into_vec()).ok()).collect()
}

/// What the two processes use of this one's memory.
struct Shared {
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    null: RawFd,
    socket: RawFd,
    /// Whether there is a standard error to be kept.
    has_stderr: bool,
    stack: Stack,
    /// The process that was made.
    watchdog: i32,
    /// What went wrong.
    error: c_int,
}

struct Stack(Vec<u8>);

impl Stack {
    fn new() -> Self {
        Self(vec![0; 64 << 10])
    }

    /// Its upper end, aligned as both architectures want it.
    fn top(&mut self) -> *mut c_void {
        let end = self.0.as_mut_ptr_range().end;
        end.map_addr(|address| address & !15).cast()
    }
}

/// The descriptor by which the watchdog finds its socket.
pub(super) const SOCKET: RawFd = 3;

/// Starts `watchdog words…` with one end of `socket`. All signals must be blocked in the calling thread, whose table of
/// descriptors it takes standard error from. Returns its process id.
///
/// # Errors
/// When the system gives no process or no descriptor, or the program cannot be loaded.
pub(super) fn launch(
    words: Vec<OsString>,
    environment: &[CString],
    socket: &OwnedFd,
) -> Result<i32> {
    let Some(relaunch) = RELAUNCH.get() else { return Err(Error::from_raw_os_error(libc::ENOENT)) };
    let words: Vec<CString> = (relaunch.0.iter().cloned())
        .chain(["watchdog".into()])
        .chain(words)
        .map(|word| CString::new(word.as_os_str().as_bytes()).map_err(Error::from))
        .collect::<Result<_>>()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    // Above the three that it is to have.
    let (null, socket) = (above(&null)?, above(socket)?);
    // SAFETY: asks only.
    let has_stderr = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_GETFD) } >= 0;
    let pointers = |strings: &[CString]| {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let mut shared = Shared {
        arguments: pointers(&words),
        environment: pointers(environment),
        null: null.as_raw_fd(),
        socket: socket.as_raw_fd(),
        has_stderr,
        stack: Stack::new(),
        watchdog: 0,
        error: 0,
    };
    let mut stack = Stack::new();
    // SAFETY: this thread sleeps until the child has ended or loaded a program (CLONE_VFORK), so what it uses of this stack
    // stays; it only makes system calls, on a stack of its own. No signal, so no handler, reaches it.
    unsafe {
        let shared = (&raw mut shared).cast::<c_void>();
        let between = libc::clone(between, stack.top(), libc::CLONE_VM | libc::CLONE_VFORK, shared);
        if between < 0 {
            return Err(Error::last_os_error());
        }
        // It has ended, and nobody else waits for a child that gives no signal.
        libc::waitpid(between, std::ptr::null_mut(), libc::__WALL);
    }
    match shared.error {
        0 => Ok(shared.watchdog),
        error => Err(Error::from_raw_os_error(error)),
    }
}

fn above(fd: &impl AsRawFd) -> Result<OwnedFd> {
    // SAFETY: a new descriptor, owned by the result.
    unsafe {
        match libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, SOCKET + 1) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(Error::last_os_error()),
        }
    }
}

/// The process between: makes the other one, and ends.
extern "C" fn between(shared: *mut c_void) -> c_int {
    // SAFETY: the structure on the stack of the thread that waits for this process.
    unsafe {
        let it = &mut *shared.cast::<Shared>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK;
        it.watchdog = libc::clone(become_the_watchdog, it.stack.top(), flags, shared);
        if it.watchdog < 0 {
            it.error = *libc::__errno_location();
        }
        libc::_exit(0)
    }
}

/// The other one: loads the program.
extern "C" fn become_the_watchdog(shared: *mut c_void) -> c_int {
    // SAFETY: as above; the table of descriptors is this process's own.
    unsafe {
        let it = &mut *shared.cast::<Shared>();
        // Away from the script's terminal and group, and from the signals sent to them.
        libc::setsid();
        libc::dup2(it.null, libc::STDIN_FILENO);
        libc::dup2(it.null, libc::STDOUT_FILENO);
        if !it.has_stderr {
            libc::dup2(it.null, libc::STDERR_FILENO);
        }
        libc::dup2(it.socket, SOCKET);
        libc::syscall(libc::SYS_close_range, SOCKET + 1, u32::MAX, 0);
        libc::execve(c"/proc/self/exe".as_ptr(), it.arguments.as_ptr(), it.environment.as_ptr());
        it.error = *libc::__errno_location();
        libc::_exit(127)
    }
}
