//! Where things stand in the tree. Every path that a chore uses is named here once.

use std::path::{Path, PathBuf};

/// The top of the tree. `cargo xtask` sets `CARGO_MANIFEST_DIR` of this crate, one folder below it.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// What cargo builds for a developer who types `cargo build`.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A target folder of its own for one way of building: an interpreter, a model checker, another parker. Two ways of
/// building that share a folder rebuild the whole dependency tree for each other.
pub(crate) fn target_of(way: &str) -> PathBuf {
    target().join("for").join(way)
}

/// The virtual environment of an interpreter, or the one of the tools.
pub(crate) fn venv(tag: &str) -> PathBuf {
    target().join("venv").join(tag)
}

/// Where cargo puts tools that this project installs for itself.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The Python package's project: `pyproject.toml`, `src/`, `python/`, `tests/`.
pub(crate) fn python_project() -> PathBuf {
    root().join("crates/quell-python")
}

/// The manifests of the workspace's packages, in order.
///
/// # Errors
/// When the folder of the crates cannot be read.
pub(crate) fn manifests() -> std::io::Result<Vec<PathBuf>> {
    let mut folders = vec![root().join("xtask"), python_project().join("extension")];
    for entry in std::fs::read_dir(root().join("crates"))? {
        folders.push(entry?.path());
    }
    let mut manifests: Vec<_> = folders
        .into_iter()
        .map(|folder| folder.join("Cargo.toml"))
        .filter(|file| file.is_file())
        .collect();
    manifests.sort();
    Ok(manifests)
}

/// The C ABI's project: `src/`, `include/`, `tests/`.
pub(crate) fn c_project() -> PathBuf {
    root().join("crates/quell-capi")
}

/// The C header, which is made and checked in.
pub(crate) fn c_header() -> PathBuf {
    c_project().join("include/quell.h")
}

/// Where the C ABI's tests have libquell installed, and their programs.
pub(crate) fn c_stage() -> PathBuf {
    target().join("c")
}

/// Examples in C.
pub(crate) fn c_examples() -> PathBuf {
    root().join("examples/c")
}

/// The test that runs the documents' examples.
pub(crate) fn document_tests() -> PathBuf {
    root().join("tests/docs")
}

/// Suites that drive the built command on real programs.
pub(crate) fn command_suites() -> PathBuf {
    root().join("tests/run")
}

/// The package that measures the core beside other crates.
pub(crate) fn bench() -> PathBuf {
    root().join("bench")
}

/// What was measured of the core.
pub(crate) fn bench_results() -> PathBuf {
    bench().join("results/core.json")
}

/// What was measured on one interpreter: of the package (`python`), of the command (`run`), of it and other packages (`peers`).
pub(crate) fn bench_results_of(what: &str, tag: &str) -> PathBuf {
    bench().join(format!("results/{what}-{tag}.json"))
}

/// The sources of the book.
pub(crate) fn book() -> PathBuf {
    root().join("docs/src")
}

/// Shortens a path under the top of the tree, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
