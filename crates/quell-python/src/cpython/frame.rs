//! Interpreter frames, without building frame objects: code, position, caller, arguments.
//!
//! A frame is valid only while the GIL is held and its thread has not returned from it, which is the case for
//! every frame found on a thread's stack as long as the GIL is not released.

use pyo3::ffi;

use super::code::Code;
use super::layout::{self, read};
use super::snapshot::Frame as Place;

/// A frame of the interpreter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame(*mut u8);

impl Frame {
    pub(crate) fn from_ptr(frame: *mut u8) -> Option<Self> {
        (!frame.is_null()).then_some(Self(frame))
    }

    fn field<T: Copy>(self, offset: usize) -> T {
        // SAFETY: a live frame under the GIL; `offset` is one of the verified ones.
        unsafe { read(self.0, offset) }
    }

    /// Where the frame stands; equal addresses of live frames mean the same frame.
    pub(crate) fn address(self) -> usize {
        self.0 as usize
    }

    fn owner(self) -> u8 {
        self.field(layout::F_OWNER)
    }

    /// The record of an evaluation loop that C code started; it runs no Python code itself.
    pub(crate) fn is_entry_record(self) -> bool {
        #[cfg(Py_3_12)]
        {
            self.owner() >= layout::OWNED_BY_C_STACK
        }
        #[cfg(not(Py_3_12))]
        {
            false
        }
    }

    /// Whether C code, not Python code, called this frame.
    pub(crate) fn is_called_from_c(self) -> bool {
        #[cfg(Py_3_12)]
        {
            self.previous_raw().is_none_or(Frame::is_entry_record)
        }
        #[cfg(not(Py_3_12))]
        {
            self.field::<u8>(layout::F_IS_ENTRY) != 0
        }
    }

    /// This frame, or the nearest caller that runs Python code.
    pub(crate) fn skip_entries(self) -> Option<Frame> {
        let mut frame = Some(self);
        while let Some(f) = frame {
            if !f.is_entry_record() {
                return Some(f);
            }
            frame = f.previous_raw();
        }
        None
    }

    /// The caller, entry records included.
    pub(crate) fn previous_raw(self) -> Option<Frame> {
        Self::from_ptr(self.field(layout::F_PREVIOUS))
    }

    /// The caller that runs Python code.
    pub(crate) fn previous(self) -> Option<Frame> {
        self.previous_raw().and_then(Frame::skip_entries)
    }

    /// This frame and its callers, innermost first.
    pub(crate) fn stack(self) -> impl Iterator<Item = Frame> {
        std::iter::successors(Some(self), |f| f.previous())
    }

    /// The code the frame runs. None for the few frames that run none of the program's: from 3.12 the interpreter puts one
    /// below an `__init__` that it calls itself, whose code object is one of its constants, in read-only memory.
    pub(crate) fn code(self) -> Option<Code> {
        Code::from_object(self.code_address() as *mut ffi::PyObject)
            .filter(|code| !code.is_constant())
    }

    /// Where the code object stands that the frame runs.
    #[inline]
    pub(crate) fn code_address(self) -> usize {
        layout::untagged(self.field(layout::F_CODE))
    }

    /// Where in the program it is. None for the few frames that run none of the program's code.
    pub(crate) fn place(self) -> Option<Place> {
        let code = self.code()?;
        Some(code.place(code.offset_of(self.instruction())))
    }

    /// The byte offset of the instruction the frame is at; negative before the first one.
    pub(crate) fn lasti(self) -> i32 {
        self.code().map_or(-1, |code| code.offset_of(self.instruction()))
    }

    /// Address of the instruction the frame is at.
    #[inline]
    pub(crate) fn instruction(self) -> usize {
        self.field(layout::F_INSTR)
    }

    /// Local variable `i` as stored: borrowed, possibly a cell, null where unset.
    pub(crate) fn local(self, i: usize) -> *mut ffi::PyObject {
        let local = self.field(layout::F_LOCALSPLUS + i * size_of::<usize>());
        layout::untagged(local) as *mut ffi::PyObject
    }

    /// The exception that the generator of this frame is handling (borrowed), for a frame that belongs to one.
    pub(crate) fn generator_exception(self) -> Option<*mut ffi::PyObject> {
        if self.owner() != layout::OWNED_BY_GENERATOR {
            return None;
        }
        // The frame is a field of its generator.
        let generator = self.0.wrapping_sub(layout::GEN_IFRAME);
        // SAFETY: a frame with this owner is embedded in a live generator at that offset.
        let value: *mut ffi::PyObject = unsafe { read(generator, layout::GEN_EXC_VALUE) };
        (!value.is_null()).then_some(value)
    }
}
