//! How a signal ends a call for sure, and the choice of that and of the signal, once for the process.

use super::signal as handler;
use super::{fence, stub};
use crate::park::Short;
use std::ffi::c_int;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// How it is made sure that no kick is lost between a thread's last look and its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The handler knows by the program counter whether the call has begun, and keeps it from beginning. Exact, and the
    /// default where it exists: Linux on x86-64 and aarch64.
    Stub,
    /// The monitor's thread sends the signal again, at growing intervals (50 µs to 10 ms), until the call has ended. The
    /// default elsewhere.
    Resend,
}

/// Chooses the signal and the [mechanism](Mechanism), before the first system call that is made through quell. Without
/// it they are SIGURG and the best mechanism there is.
///
/// ```standalone_crate
/// use quell::syscall::Setup;
///
/// Setup::new().signal(libc::SIGRTMIN() + 5).install().expect("nothing was called before");
/// assert_eq!(quell::syscall::signal(), libc::SIGRTMIN() + 5);
/// assert!(Setup::new().install().unwrap_err().to_string().contains("already"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    signal: c_int,
    mechanism: Mechanism,
}

impl Setup {
    /// SIGURG, and the best mechanism there is.
    pub const fn new() -> Setup {
        let mechanism = if stub::EXISTS { Mechanism::Stub } else { Mechanism::Resend };
        Setup { signal: libc::SIGURG, mechanism }
    }

    /// Another signal. One that may arrive at any time without harm: a real-time signal, or a standard one whose
    /// default is to be ignored.
    #[must_use]
    pub const fn signal(self, signal: c_int) -> Setup {
        Setup { signal, ..self }
    }

    /// Another mechanism.
    #[must_use]
    pub const fn mechanism(self, mechanism: Mechanism) -> Setup {
        Setup { mechanism, ..self }
    }

    /// Installs the handler. Whoever had the signal before goes on being called: for every signal if it is a standard
    /// one, of which the kernel keeps only one at a time and one may stand for two; for those of others if it is a
    /// real-time signal.
    ///
    /// # Errors
    /// If system calls were made through quell before, or another `Setup` was installed; if there is no such signal or
    /// mechanism here.
    pub fn install(self) -> Result<(), SetupError> {
        let mut mine = false;
        let installed = installed_or(|| {
            mine = true;
            self.run()
        });
        match installed {
            Err(error) => Err(error.clone()),
            Ok(()) if mine => Ok(()),
            Ok(()) => Err(SetupError::Already(signal())),
        }
    }

    fn run(self) -> Result<(), SetupError> {
        if self.mechanism == Mechanism::Stub && !stub::EXISTS {
            return Err(SetupError::NoStub);
        }
        RESENDS.store(self.mechanism == Mechanism::Resend, SeqCst);
        fence::prepare();
        handler::install(self.signal)
            .map_err(|error| SetupError::Signal(self.signal, error.to_string()))
    }
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

static INSTALLED: OnceLock<Result<(), SetupError>> = OnceLock::new();
/// Whoever installs holds this, so that a fork finds nobody in the middle of it: of that one a child would wait for the end.
static INSTALLING: Short<()> = Short::new(());
static RESENDS: AtomicBool = AtomicBool::new(!stub::EXISTS);

/// The mechanism in use.
pub(super) fn current() -> Mechanism {
    // Relaxed: written once, before any call.
    if RESENDS.load(Relaxed) { Mechanism::Resend } else { Mechanism::Stub }
}

/// Installs what was not installed yet.
///
/// # Panics
/// If the signal that was chosen cannot be had.
pub(super) fn ensure() {
    if let Err(error) = installed_or(|| Setup::new().run()) {
        panic!("{error}");
    }
}

/// How that went; `install` does it, if nobody has yet.
fn installed_or(
    install: impl FnOnce() -> Result<(), SetupError>,
) -> &'static Result<(), SetupError> {
    INSTALLED.get().unwrap_or_else(|| {
        let _installing = INSTALLING.lock();
        INSTALLED.get_or_init(install)
    })
}

/// Before fork: nobody is installing it.
pub(crate) fn hold() {
    INSTALLING.raw().lock();
}

/// After fork, in both processes.
pub(crate) fn release() {
    INSTALLING.raw().unlock();
}

/// The signal that ends system calls. Installs it, if that has not been done.
pub fn signal() -> c_int {
    ensure();
    handler::number().expect("just installed")
}

/// Why a [`Setup`] was not installed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// It is too late: this signal is in use.
    Already(c_int),
    /// The system refuses the signal, for this reason.
    Signal(c_int, String),
    /// There is no stub for this processor.
    NoStub,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Already(signal) => write!(
                f,
                "signal {signal} already ends this process's system calls: install a Setup before the first call"
            ),
            SetupError::Signal(signal, why) => {
                write!(
                    f,
                    "signal {signal} cannot be used to end system calls ({why}): choose another"
                )
            }
            SetupError::NoStub => {
                f.write_str("there is no stub for this processor: choose Mechanism::Resend")
            }
        }
    }
}

impl std::error::Error for SetupError {}
