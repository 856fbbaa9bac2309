//! The frame that a timeout belongs to, where that is the frame of a generator or coroutine.

use pyo3::ffi;

use crate::cpython::code::Code;
use crate::cpython::frame::Frame;
use crate::cpython::thread::ThreadState;

const SUSPENDABLE: i32 = ffi::CO_GENERATOR | ffi::CO_COROUTINE | ffi::CO_ASYNC_GENERATOR;

/// The address of the innermost generator frame on the calling thread's stack that is there for its own sake, 0 if there is
/// none: a scope entered now may be raised only while it is on the stack.
///
/// The innermost one is right also when the scope is entered in a function that it called: while that function runs, the
/// generator is on the stack; and a function that enters a scope and returns, such as `ExitStack.enter_context`, does it for
/// its caller.
#[inline]
pub(super) fn home_frame(thread: ThreadState) -> usize {
    let Some(top) = thread.top() else { return 0 };
    let Some(code) = top.code() else { return 0 };
    // The common case: a `with` statement in a plain function, where the scope ends before the function does.
    if code.flags() & SUSPENDABLE == 0 && enters_a_with(top, code) {
        return 0;
    }
    search(top)
}

#[cold]
fn search(top: Frame) -> usize {
    let mut next = Some(top);
    while let Some(frame) = next {
        next = frame.previous();
        if frame.code().is_none_or(|code| code.flags() & SUSPENDABLE == 0) {
            continue;
        }
        match next {
            // The generator of a context manager: what counts is the `with` statement that uses it.
            Some(caller) if drives_a_context_manager(caller) => next = caller.previous(),
            _ => return frame.address(),
        }
    }
    0
}

/// Whether the frame is contextlib's, entering a context manager made of a generator.
fn drives_a_context_manager(frame: Frame) -> bool {
    frame.code().is_some_and(|code| {
        code.is_qualified(c"_GeneratorContextManager.__enter__")
            || code.is_qualified(c"_AsyncGeneratorContextManager.__aenter__")
    })
}

/// The instruction of a `with` statement that calls `__enter__`. Other versions have none, and an instrumented one is not
/// recognised: that costs a search and changes nothing.
#[cfg(all(Py_3_11, not(Py_3_13)))]
const BEFORE_WITH: Option<u8> = Some(53);
#[cfg(all(Py_3_13, not(Py_3_14)))]
const BEFORE_WITH: Option<u8> = Some(2);
#[cfg(Py_3_14)]
const BEFORE_WITH: Option<u8> = None;

#[inline]
fn enters_a_with(frame: Frame, code: Code) -> bool {
    let Some(opcode) = BEFORE_WITH else { return false };
    let Ok(offset) = usize::try_from(frame.lasti()) else { return false };
    // SAFETY: the frame is at this instruction of its code.
    (unsafe { *((code.first_instruction() + offset) as *const u8) }) == opcode
}
