//! Tests of this crate link libpython, which may stand outside the linker's path.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
}
