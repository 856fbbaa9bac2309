//! The interpreter's data, brought in at once.
//!
//! An interpreter that is linked in has its built-in types and strings in the program's own data, and touches most of these pages
//! while it starts: first it reads, which shows it the file's page, then it counts a reference, which has the page copied. Two
//! faults for each of three hundred pages take 0.7 ms; to copy them beforehand takes a tenth of that. (A `python` that can stand at
//! any address copies them in the loader, which corrects addresses there.)

#![allow(unsafe_code)]

unsafe extern "C" {
    /// Where the program's data begins and ends. The linker defines both.
    static __data_start: u8;
    static _edata: u8;
}

/// Copies the data's pages. Linux 5.14; an older one does nothing, and they are copied one by one.
pub(crate) fn bring_in() {
    // SAFETY: takes any argument.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else { return };
    let start = (&raw const __data_start).addr() / page * page;
    let length = (&raw const _edata).addr().saturating_sub(start);
    // SAFETY: the pages are this program's own; what is in them stays as it is.
    unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_POPULATE_WRITE) };
}
