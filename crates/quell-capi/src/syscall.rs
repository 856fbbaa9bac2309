//! Any system call, and the signal that ends them.

use crate::object::{answer, null};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use libc::{c_int, c_long};
use quell_core::syscall::{self, Setup};

/// Makes any other system call, by its number (`SYS_accept4`, say), with `arguments`, which has six places; and writes what the
/// kernel answered to `result`, unless that is NULL. The deadline is kept by quell; one that has passed keeps the call from
/// being made. A call that a signal of the program has ended with EINTR is made again with the same arguments.
///
/// Interruption point. QUELL_OK: the call has done something, if only in part, and the interrupt stays pending.
/// QUELL_INTERRUPTED, QUELL_TIMED_OUT: it has done nothing, as far as the kernel keeps that promise for the call: the book
/// has a table. QUELL_SYSTEM: errno says why.
///
/// The call must return in this thread to where it was made: no fork, vfork, clone that shares the stack, rt_sigreturn.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_syscall(
    number: c_long,
    arguments: *const usize,
    result: *mut isize,
    deadline: quell_deadline,
) -> quell_status {
    call("quell_syscall", || {
        if arguments.is_null() {
            return Err(null("list of arguments"));
        }
        // SAFETY: the caller's promise: six of them.
        let arguments = unsafe { arguments.cast::<[usize; 6]>().read() };
        // SAFETY: the caller's promise: they are what the call expects.
        let answered = unsafe { syscall::call(number, arguments, &until(deadline)) }?;
        // SAFETY: the caller's promise: NULL or a place for it.
        unsafe { answer(result, answered.cast_signed()) };
        Ok(())
    })
}

/// Chooses the signal that ends system calls, instead of SIGURG: a real-time signal, or a standard one whose default is to be
/// ignored. To be called before the first system call is made through quell, once. A handler that the program has for it
/// goes on being called. Does not block.
///
/// QUELL_OK. QUELL_INVALID: it is too late, or there is no such signal; nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn quell_set_signal(signal: c_int) -> quell_status {
    call("quell_set_signal", || {
        let setup = Setup::new().signal(signal);
        setup.install().map_err(|error| Failure::invalid(error.to_string()))
    })
}

/// The signal that ends system calls; installs its handler, if that has not been done. 0 if it cannot be had. Do not block
/// it in threads that are to be interrupted in system calls. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_get_signal() -> c_int {
    call_for("quell_get_signal", 0, || Ok(syscall::signal()))
}
