//! The package `quell`, built into the binary.
//!
//! Its Python files are frozen modules, as the interpreter's own start-up modules are: code compiled when the command was
//! built, in a table that the import system looks into before any directory. Nothing is unpacked, an unused package
//! costs nothing, and an installed `quell`, with a native half of its own, is never mixed with this one. The native half
//! is a built-in module.

use std::ffi::CStr;

use pyo3::ffi;

static MODULES: &[(&CStr, &[u8], bool)] = include!(concat!(env!("OUT_DIR"), "/frozen.rs"));

/// Makes the package importable. Before the interpreter is initialized.
pub(crate) fn install() {
    use _quell::_quell;
    pyo3::append_to_inittab!(_quell);

    let mut table: Vec<ffi::_frozen> = MODULES
        .iter()
        .map(|(name, code, is_package)| ffi::_frozen {
            name: name.as_ptr(),
            code: code.as_ptr(),
            // A module's code is far from 2 GiB.
            size: code.len() as i32,
            is_package: i32::from(*is_package),
            #[cfg(not(Py_3_13))]
            get_code: None,
        })
        .collect();
    // SAFETY: all zero is the entry that ends the table.
    table.push(unsafe { std::mem::zeroed() });
    // SAFETY: the interpreter does not run yet; the table lives as long as the process.
    unsafe {
        ffi::PyImport_FrozenModules = table.leak().as_ptr();
    }
}
