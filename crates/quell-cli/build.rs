//! The command embeds CPython: the linker is told where the library of the interpreter stands, because a
//! binary without that can silently load another one of the same minor version.
//!
//! It is linked to a fixed address, as most builds of `python` are: otherwise each start corrects two thousand addresses in it, and
//! copies the pages that hold them.
fn main() {
    println!("cargo:rerun-if-env-changed=PYO3_BUILD_EXTENSION_MODULE");
    pyo3_build_config::add_libpython_rpath_link_args();
    if std::env::var_os("PYO3_BUILD_EXTENSION_MODULE").is_some() {
        link_libpython();
    }
    println!("cargo:rustc-link-arg-bins=-no-pie");
}

/// What PyO3 leaves out when it is built for an extension. With this the command can be linked from the crates that an extension
/// was built of.
fn link_libpython() {
    let config = pyo3_build_config::get();
    let library = config.lib_name().expect("PyO3 knows the library of an interpreter it has run");
    if let Some(folder) = config.lib_dir() {
        println!("cargo:rustc-link-arg-bins=-L{folder}");
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folder}");
    }
    println!("cargo:rustc-link-arg-bins=-l{library}");
}
