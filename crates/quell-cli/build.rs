//! The command embeds CPython: the linker is told where the library of the interpreter stands, because a
//! binary without that can silently load another one of the same minor version.
//!
//! It is linked to a fixed address, as most builds of `python` are: otherwise each start corrects two thousand addresses in it, and
//! copies the pages that hold them.
fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
    println!("cargo:rustc-link-arg-bins=-no-pie");
}
