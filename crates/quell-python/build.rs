//! Tells the compiler which CPython this is, and the linker where its library stands; and has that interpreter write
//! down its opcode numbers, which are the same in every release of a minor version.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    // Rust tests link libpython; an extension built by maturin does not, and this does nothing there.
    pyo3_build_config::add_libpython_rpath_link_args();

    println!("cargo:rerun-if-changed=build.rs");
    let python = pyo3_build_config::get().executable().unwrap_or("python3");
    let table = Command::new(python)
        .args(["-I", "-S", "-c"])
        .arg("import opcode; print([*opcode.opmap.items()])")
        .output()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    assert!(table.status.success(), "{python} has no module opcode");
    // A list of pairs of a name and a number is written alike in Python and in Rust, but for the quotes.
    let table = String::from_utf8(table.stdout).expect("names are ASCII").replace('\'', "\"");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("opcodes.rs"), format!("&{table}")).expect("can be written");
}
