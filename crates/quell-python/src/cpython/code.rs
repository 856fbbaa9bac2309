//! Code objects: bytecode, exception table and location table, decoded.

use std::ffi::{c_int, c_void};

use pyo3::ffi;

use super::layout::{self, read};
use super::snapshot::Frame as Place;

/// A code object, borrowed: valid while somebody owns the object and the GIL is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Code(*mut ffi::PyCodeObject);

/// One row of an exception table, in code units of two bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handler {
    /// First unit covered.
    pub(crate) start: usize,
    /// First unit not covered.
    pub(crate) end: usize,
    /// Where the handler starts.
    pub(crate) target: usize,
    /// Depth of the value stack the handler starts from.
    pub(crate) depth: i32,
    /// Whether the position of the raise is pushed as well.
    pub(crate) lasti: bool,
}

/// Where in the source a code unit comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    /// First line, and column where known.
    pub(crate) start: (i32, i32),
    /// Last line, and column where known.
    pub(crate) end: (i32, i32),
}

impl Code {
    /// None if `object` is null or not a code object.
    pub(crate) fn from_object(object: *mut ffi::PyObject) -> Option<Self> {
        // SAFETY: a non-null object pointer is that of a live object here.
        (!object.is_null() && unsafe { ffi::PyCode_Check(object) } != 0)
            .then_some(Self(object.cast()))
    }

    /// The pointer itself.
    pub(crate) fn as_ptr(self) -> *mut ffi::PyCodeObject {
        self.0
    }

    fn field<T: Copy>(self, offset: usize) -> T {
        // SAFETY: a live code object; `offset` is one of the verified ones.
        unsafe { read(self.0.cast(), offset) }
    }

    /// Address of the first instruction.
    pub(crate) fn first_instruction(self) -> usize {
        self.0 as usize + layout::CO_CODE
    }

    /// The byte offset of the instruction at this address.
    pub(crate) fn offset_of(self, instruction: usize) -> i32 {
        instruction.wrapping_sub(self.first_instruction()) as isize as i32
    }

    /// Where in the program the instruction at this byte offset is.
    pub(crate) fn place(self, offset: c_int) -> Place {
        // SAFETY: a live code object; any offset is answered, with a negative line where none is known.
        let line = unsafe { PyCode_Addr2Line(self.0, offset) };
        let first: c_int = self.field(layout::CO_FIRSTLINENO);
        Place {
            function: words(self.qualname()),
            file: words(self.field(layout::CO_FILENAME)),
            line: if line < 0 { first } else { line }.max(0).cast_unsigned(),
        }
    }

    /// `co_flags`.
    pub(crate) fn flags(self) -> c_int {
        self.field(layout::CO_FLAGS)
    }

    /// Whether this is a constant of the interpreter's own, which must not be written to: neither events nor anything else
    /// can be kept with it.
    pub(super) fn is_constant(self) -> bool {
        is_constant(self.flags())
    }

    /// Number of positional parameters.
    pub(crate) fn argcount(self) -> usize {
        self.field::<c_int>(layout::CO_ARGCOUNT) as usize
    }

    /// Number of keyword-only parameters.
    pub(crate) fn kwonlyargcount(self) -> usize {
        self.field::<c_int>(layout::CO_KWONLY) as usize
    }

    /// `co_name`, borrowed.
    pub(crate) fn name(self) -> *mut ffi::PyObject {
        self.field(layout::CO_NAME)
    }

    /// `co_qualname`, borrowed.
    pub(crate) fn qualname(self) -> *mut ffi::PyObject {
        self.field(layout::CO_QUALNAME)
    }

    /// Whether `co_name` is this ASCII text.
    pub(crate) fn is_named(self, name: &std::ffi::CStr) -> bool {
        // SAFETY: co_name is always a str; the comparison neither runs Python code nor raises.
        unsafe { ffi::PyUnicode_CompareWithASCIIString(self.name(), name.as_ptr()) == 0 }
    }

    /// Whether this text occurs in `co_name`.
    pub(crate) fn is_named_with(self, part: &str) -> bool {
        // SAFETY: co_name is always a str; what it holds is looked at while the code object lives.
        let name = unsafe { utf8(self.name()) };
        name.is_some_and(|name| name.windows(part.len()).any(|window| window == part.as_bytes()))
    }

    /// Whether `co_qualname` begins with this text: a method of a class, as a rule.
    pub(crate) fn is_qualified_with(self, start: &str) -> bool {
        // SAFETY: as above, for co_qualname.
        let name = unsafe { utf8(self.qualname()) };
        name.is_some_and(|name| name.starts_with(start.as_bytes()))
    }

    /// Whether `co_qualname` is this ASCII text.
    pub(crate) fn is_qualified(self, name: &std::ffi::CStr) -> bool {
        // SAFETY: as above, for co_qualname.
        unsafe { ffi::PyUnicode_CompareWithASCIIString(self.qualname(), name.as_ptr()) == 0 }
    }

    /// Whether `co_names[index]` is this ASCII text.
    pub(crate) fn has_name(self, index: usize, name: &std::ffi::CStr) -> bool {
        // SAFETY: a live code object, whose `co_names` is a tuple of str; no Python code runs. The item is borrowed from the
        // tuple, which the code object keeps.
        unsafe {
            let names = ffi::PyObject_GetAttrString(self.0.cast(), c"co_names".as_ptr());
            if names.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            let index = index as isize;
            let there = index < ffi::PyTuple_Size(names)
                && ffi::PyUnicode_CompareWithASCIIString(
                    ffi::PyTuple_GetItem(names, index),
                    name.as_ptr(),
                ) == 0;
            ffi::Py_DECREF(names);
            there
        }
    }

    /// The bytecode as the compiler wrote it: no specialised and no instrumented instructions.
    pub(crate) fn bytecode(self) -> Vec<u8> {
        // SAFETY: a live code object, GIL held; returns a new bytes object or null without memory.
        let bytes = unsafe { PyCode_GetCode(self.0) };
        if bytes.is_null() {
            // SAFETY: clears the MemoryError, GIL held.
            unsafe { ffi::PyErr_Clear() };
            return Vec::new();
        }
        let copy = bytes_of(bytes).to_vec();
        // SAFETY: gives back the new reference.
        unsafe { ffi::Py_DECREF(bytes) };
        copy
    }

    /// The exception table, in order.
    pub(crate) fn handlers(self) -> Vec<Handler> {
        parse_handlers(bytes_of(self.field(layout::CO_EXCEPTION_TABLE)))
    }

    /// The location of every code unit; None for instructions that have none.
    pub(crate) fn locations(self) -> Vec<Option<Location>> {
        parse_locations(
            bytes_of(self.field(layout::CO_LINETABLE)),
            self.field(layout::CO_FIRSTLINENO),
        )
    }

    /// What [`set_extra`](Self::set_extra) stored under this index, or null.
    pub(crate) fn extra(self, index: isize) -> *mut c_void {
        let mut extra = std::ptr::null_mut();
        // SAFETY: `index` was given by the interpreter; the code object is live.
        unsafe { code_get_extra(self.0.cast(), index, &raw mut extra) };
        extra
    }

    /// Stores a pointer with the code object; freed by the function registered with the index.
    pub(crate) fn set_extra(self, index: isize, extra: *mut c_void) -> bool {
        // SAFETY: as above.
        unsafe { code_set_extra(self.0.cast(), index, extra) == 0 }
    }
}

/// [`Code::is_constant`], from the code's flags.
pub(super) fn is_constant(flags: c_int) -> bool {
    /// `CO_NO_MONITORING_EVENTS`, from 3.12.
    const NO_EVENTS: c_int = 0x200_0000;
    cfg!(Py_3_12) && flags & NO_EVENTS != 0
}

/// Asks for an index under which pointers can be stored with code objects.
pub(crate) fn request_extra_index(free: unsafe extern "C" fn(*mut c_void)) -> isize {
    // SAFETY: GIL held; `free` is called with what was stored when the code object ends.
    unsafe { request_index(free) }
}

/// What a str holds. None of one that UTF-8 cannot hold. Runs no Python code.
///
/// # Safety
/// GIL held; a live str, which outlives what is returned.
unsafe fn utf8<'a>(string: *mut ffi::PyObject) -> Option<&'a [u8]> {
    let mut length = 0;
    // SAFETY: the caller's promise. The str keeps the text.
    unsafe {
        let utf8 = ffi::PyUnicode_AsUTF8AndSize(string, &raw mut length);
        if utf8.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(std::slice::from_raw_parts(utf8.cast::<u8>(), length as usize))
    }
}

/// A str as text; what UTF-8 cannot hold is escaped.
pub(crate) fn words(object: *mut ffi::PyObject) -> String {
    // SAFETY: a live str and the GIL. No Python code runs: the codec and its way with errors are the interpreter's own.
    unsafe {
        if let Some(bytes) = utf8(object) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let (codec, errors) = (c"utf-8".as_ptr(), c"backslashreplace".as_ptr());
        let bytes = ffi::PyUnicode_AsEncodedString(object, codec, errors);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return String::from("?");
        }
        let text = String::from_utf8_lossy(bytes_of(bytes)).into_owned();
        ffi::Py_DECREF(bytes);
        text
    }
}

unsafe extern "C" {
    fn PyCode_Addr2Line(code: *mut ffi::PyCodeObject, offset: c_int) -> c_int;
    fn PyCode_GetCode(code: *mut ffi::PyCodeObject) -> *mut ffi::PyObject;

    #[cfg_attr(Py_3_12, link_name = "PyUnstable_Eval_RequestCodeExtraIndex")]
    #[cfg_attr(not(Py_3_12), link_name = "_PyEval_RequestCodeExtraIndex")]
    fn request_index(free: unsafe extern "C" fn(*mut c_void)) -> isize;
    #[cfg_attr(Py_3_12, link_name = "PyUnstable_Code_GetExtra")]
    #[cfg_attr(not(Py_3_12), link_name = "_PyCode_GetExtra")]
    fn code_get_extra(code: *mut ffi::PyObject, index: isize, extra: *mut *mut c_void) -> c_int;
    #[cfg_attr(Py_3_12, link_name = "PyUnstable_Code_SetExtra")]
    #[cfg_attr(not(Py_3_12), link_name = "_PyCode_SetExtra")]
    fn code_set_extra(code: *mut ffi::PyObject, index: isize, extra: *mut c_void) -> c_int;
}

fn bytes_of<'a>(bytes: *mut ffi::PyObject) -> &'a [u8] {
    // SAFETY: the callers pass a live bytes object that outlives their use of the slice.
    unsafe {
        let data = ffi::PyBytes_AsString(bytes).cast::<u8>();
        std::slice::from_raw_parts(data, ffi::PyBytes_Size(bytes) as usize)
    }
}

/// Decodes an exception table. The format is described in CPython's `Objects/exception_handling_notes.txt`.
pub(crate) fn parse_handlers(table: &[u8]) -> Vec<Handler> {
    fn varint(bytes: &mut std::slice::Iter<'_, u8>) -> Option<usize> {
        let mut byte = *bytes.next()?;
        let mut value = usize::from(byte & 63);
        while byte & 64 != 0 {
            byte = *bytes.next()?;
            value = value << 6 | usize::from(byte & 63);
        }
        Some(value)
    }
    let mut bytes = table.iter();
    let mut rows = Vec::new();
    while let Some(start) = varint(&mut bytes) {
        let (Some(length), Some(target), Some(depth)) =
            (varint(&mut bytes), varint(&mut bytes), varint(&mut bytes))
        else {
            break;
        };
        let (depth, lasti) = ((depth >> 1) as i32, depth & 1 != 0);
        rows.push(Handler { start, end: start + length, target, depth, lasti });
    }
    rows
}

/// Decodes a location table: one entry per code unit. The format is described in CPython's `Objects/locations.md`.
pub(crate) fn parse_locations(table: &[u8], first_line: c_int) -> Vec<Option<Location>> {
    struct Reader<'a>(std::slice::Iter<'a, u8>);
    impl Reader<'_> {
        fn byte(&mut self) -> Option<i32> {
            self.0.next().map(|&b| i32::from(b))
        }
        fn unsigned(&mut self) -> Option<i32> {
            let mut byte = self.byte()?;
            let mut value = byte & 63;
            let mut shift = 0;
            while byte & 64 != 0 {
                byte = self.byte()?;
                shift += 6;
                value |= (byte & 63).wrapping_shl(shift);
            }
            Some(value)
        }
        fn signed(&mut self) -> Option<i32> {
            self.unsigned().map(|v| if v & 1 != 0 { -(v >> 1) } else { v >> 1 })
        }
    }
    let mut reader = Reader(table.iter());
    let mut line = first_line;
    let mut units = Vec::new();
    let mut next = || -> Option<(usize, Option<Location>)> {
        let first = reader.byte()?;
        let length = (first & 7) as usize + 1;
        let location = match first >> 3 & 15 {
            15 => None,
            14 => {
                line += reader.signed()?;
                let end_line = line + reader.unsigned()?;
                let (column, end_column) = (reader.unsigned()? - 1, reader.unsigned()? - 1);
                Some(Location { start: (line, column), end: (end_line, end_column) })
            }
            13 => {
                line += reader.signed()?;
                Some(Location { start: (line, -1), end: (line, -1) })
            }
            code @ 10..=12 => {
                line += code - 10;
                let (column, end_column) = (reader.byte()?, reader.byte()?);
                Some(Location { start: (line, column), end: (line, end_column) })
            }
            code => {
                let second = reader.byte()?;
                let column = code << 3 | second >> 4;
                Some(Location { start: (line, column), end: (line, column + (second & 15)) })
            }
        };
        Some((length, location))
    };
    while let Some((length, location)) = next() {
        units.resize(units.len() + length, location);
    }
    units
}
