//! Compiles the Python files of the package with the interpreter the command is linked against, so that they can be
//! part of the binary, and notes which interpreter that is.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    // Tests of this crate link libpython, which may stand outside the linker's path.
    pyo3_build_config::add_libpython_rpath_link_args();

    let package = PathBuf::from("../quell-python/python/quell");
    println!("cargo:rerun-if-changed={}", package.display());
    println!("cargo:rerun-if-changed=freeze.py");
    let python = pyo3_build_config::get().executable().unwrap_or("python3");
    println!("cargo:rustc-env=QUELL_BUILD_PYTHON={python}");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let status = Command::new(python)
        .args(["-I", "-S", "freeze.py"])
        .arg(&package)
        .arg(&out)
        .status()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    assert!(status.success(), "freeze.py failed under {python}");
}
