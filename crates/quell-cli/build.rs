//! The command embeds CPython: the linker is told where the library of the interpreter stands, because a
//! binary without that can silently load another one of the same minor version.
fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
}
