//! Python functions that a C library has called: told by the C stack.
//!
//! Some modules hand a Python function to a C library that knows nothing of exceptions. What the function raises is printed as
//! ignored (ctypes, cffi, ssl), or dropped without a word (sqlite3, readline), and the interrupt with it. The function's
//! frame does not tell: it looks like that of a function which `sorted()` calls, whose exceptions come through. The C stack
//! does. The interpreter was called by the module's code, and that by the library, where otherwise only the interpreter
//! calls a module:
//!
//! ```text
//!     progress handler                                sort key, row factory, adapter
//!     ─────────────────────────────────────           ──────────────────────────────
//!     interpreter: runs the Python function           interpreter: runs the Python function
//!     _sqlite3:    calls it                           _sqlite3:    calls it
//!     libsqlite3:  calls back                         interpreter: Cursor.execute()
//!     _sqlite3:    Cursor.execute()
//! ```
//!
//! So the C stack is walked, by the tables that C++ has its exceptions unwound by, and each return address looked up among the
//! shared objects of the process. It costs some microseconds, so it is done only where an interrupt has come, C code has called a
//! Python function at all, and one of these modules is loaded. A module that has its library, or the interpreter, built in cannot be told from
//! it; what it drops is beyond help, what it prints is the business of the [unraisable hook](super::unraisable).
//!
//! Called with the GIL held, for the calling thread.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;

use pyo3::ffi;
use pyo3::prelude::*;

use super::gil_cell::GilCell;

/// The modules, by the beginnings of their files' names.
const MODULES: [&str; 5] = ["_sqlite3.", "_ctypes.", "_cffi_backend.", "_ssl.", "readline."];

/// What an address of the program belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Interpreter,
    /// One of [`MODULES`].
    Module,
    /// Any other library.
    Library,
}

/// The code of the process's shared objects that matters here.
#[derive(Default)]
struct Objects {
    /// How many objects the loader had loaded and unloaded when this was made.
    generation: Option<(u64, u64)>,
    code: Vec<(Range<usize>, Owner)>,
}

static OBJECTS: GilCell<Objects> = GilCell::new(Objects { generation: None, code: Vec::new() });

/// Whether a C library has called a Python function that the calling thread is in, through a module that drops exceptions.
pub(super) fn called_by_library(py: Python<'_>) -> bool {
    OBJECTS.with(py, |objects| {
        objects.refresh();
        objects.code.iter().any(|(_, owner)| *owner == Owner::Module) && {
            let mut walk = Walk { objects, last: Owner::Interpreter, found: false };
            // SAFETY: `step` is called for each frame of this thread's C stack, with the walk, before this returns.
            unsafe { _Unwind_Backtrace(step, (&raw mut walk).cast()) };
            walk.found
        }
    })
}

/// A walk along the C stack, from the innermost frame.
struct Walk<'a> {
    objects: &'a Objects,
    /// Whose the frame before was, which the next one has called.
    last: Owner,
    found: bool,
}

extern "C" fn step(context: *mut c_void, walk: *mut c_void) -> c_int {
    /// `_URC_NO_REASON`: go on. Anything else ends the walk.
    const ON: c_int = 0;
    const ENOUGH: c_int = 4;
    // SAFETY: what `called_by_library` has passed, which nobody else uses meanwhile; `context` is the unwinder's.
    let (walk, address) = unsafe { (&mut *walk.cast::<Walk<'_>>(), _Unwind_GetIP(context)) };
    // Where the call will return to: the call itself is before it.
    let owner = walk.objects.owner(address.wrapping_sub(1));
    walk.found = walk.last == Owner::Module && owner == Owner::Library;
    walk.last = owner;
    if walk.found { ENOUGH } else { ON }
}

impl Objects {
    fn owner(&self, address: usize) -> Owner {
        let mut code = self.code.iter();
        code.find(|(range, _)| range.contains(&address)).map_or(Owner::Library, |(_, owner)| *owner)
    }

    /// Looks at the process's objects again if some have come or gone.
    fn refresh(&mut self) {
        let mut look = Look { objects: self, begun: false };
        // SAFETY: `see` is called with the look before this returns. The loader holds a lock meanwhile under which nothing of
        // others runs, in particular no constructor of a library, which could want the GIL.
        unsafe { libc::dl_iterate_phdr(Some(see), (&raw mut look).cast()) };
    }
}

/// A look at the process's objects.
struct Look<'a> {
    objects: &'a mut Objects,
    begun: bool,
}

unsafe extern "C" fn see(info: *mut libc::dl_phdr_info, _size: usize, look: *mut c_void) -> c_int {
    // SAFETY: what `refresh` has passed, which nobody else uses meanwhile; the loader's description of one object.
    let (look, info) = unsafe { (&mut *look.cast::<Look<'_>>(), &*info) };
    let generation = Some((info.dlpi_adds, info.dlpi_subs));
    if !std::mem::replace(&mut look.begun, true) {
        if look.objects.generation == generation {
            return 1;
        }
        *look.objects = Objects { generation, code: Vec::new() };
    }
    let code: Vec<_> = executable(info).collect();
    if let Some(owner) = owner(info, &code) {
        look.objects.code.extend(code.into_iter().map(|range| (range, owner)));
    }
    0
}

/// Where the object's code stands.
fn executable(info: &libc::dl_phdr_info) -> impl Iterator<Item = Range<usize>> {
    // SAFETY: the loader's own list of the object's segments, valid for this call.
    let segments = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let is_code = |s: &&libc::Elf64_Phdr| s.p_type == libc::PT_LOAD && s.p_flags & libc::PF_X != 0;
    segments.iter().filter(is_code).map(|segment| {
        let start = (info.dlpi_addr + segment.p_vaddr) as usize;
        start..start + segment.p_memsz as usize
    })
}

/// Whose the object is; None for those that nobody asks about.
fn owner(info: &libc::dl_phdr_info, code: &[Range<usize>]) -> Option<Owner> {
    let interpreter = ffi::PyEval_GetFrame as *const () as usize;
    if code.iter().any(|range| range.contains(&interpreter)) {
        return Some(Owner::Interpreter);
    }
    if info.dlpi_name.is_null() {
        return None;
    }
    // SAFETY: the object's path, a C string of the loader's.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    MODULES.iter().any(|module| name.starts_with(module.as_bytes())).then_some(Owner::Module)
}

unsafe extern "C" {
    /// Of the compiler's run-time library, which Rust's own unwinding uses.
    fn _Unwind_Backtrace(
        step: extern "C" fn(context: *mut c_void, argument: *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}
