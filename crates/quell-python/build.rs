//! Tells the compiler which CPython this is, and the linker where its library stands.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    // macOS only.
    pyo3_build_config::add_extension_module_link_args();
    // Rust tests link libpython; an extension built by maturin does not, and this does nothing there.
    pyo3_build_config::add_libpython_rpath_link_args();
}
