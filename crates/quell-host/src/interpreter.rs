//! Which Python the embedded interpreter is to be.
//!
//! The library is the one the command was built against. Its environment is the active virtual environment's, if
//! there is one of the same minor version, and otherwise that of the interpreter of the build. `sys.executable` is that
//! environment's `python`, so that `multiprocessing` and `subprocess` start it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use _quell::run::{Plan, Target};
use pyo3::ffi;

use crate::HostError;

/// The executable to stand in for.
pub(crate) fn find() -> Result<PathBuf, HostError> {
    match std::env::var_os("VIRTUAL_ENV") {
        Some(directory) if !directory.is_empty() => environment(Path::new(&directory)),
        _ => built_against(),
    }
}

fn built_against() -> Result<PathBuf, HostError> {
    let python = PathBuf::from(env!("QUELL_BUILD_PYTHON"));
    if python.exists() {
        return Ok(python);
    }
    Err(HostError(format!(
        "the interpreter that this quell was built against is not at {} any more; activate a virtual environment \
         of Python {}, or use: python -m quell run",
        python.display(),
        linked_version()
    )))
}

/// A virtual environment, if its version is the library's.
fn environment(directory: &Path) -> Result<PathBuf, HostError> {
    let python = directory.join("bin/python");
    if !python.exists() {
        return Err(HostError(format!(
            "VIRTUAL_ENV is {}, where there is no bin/python; deactivate that environment",
            directory.display()
        )));
    }
    let linked = linked_version();
    let config = std::fs::read_to_string(directory.join("pyvenv.cfg")).unwrap_or_default();
    match version_of(&config) {
        Some(version) if version != linked => Err(HostError(format!(
            "the virtual environment {} is of Python {version}, and this quell embeds Python {linked}; install quell \
             there and use: python -m quell run",
            directory.display()
        ))),
        _ => Ok(python),
    }
}

/// `3.12`, from the two ways in which `pyvenv.cfg` is written.
fn version_of(config: &str) -> Option<String> {
    let value = config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "version" | "version_info").then(|| value.trim())
    })?;
    let mut parts = value.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

/// The version of the library, which is there before it is initialized.
fn linked_version() -> String {
    // SAFETY: returns a static string at any time.
    let version = unsafe { std::ffi::CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    let mut parts = version.split(['.', ' ']);
    format!("{}.{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The command line of `python` that means the same.
pub(crate) fn command_line(python: &Path, plan: &Plan) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![python.into()];
    let mut add = |word: &OsStr| words.push(word.to_owned());
    match &plan.target {
        Target::Script(path) => {
            if path.as_encoded_bytes().starts_with(b"-") {
                add(OsStr::new("--"));
            }
            add(path);
        }
        Target::Module(name) => {
            add(OsStr::new("-m"));
            add(name);
        }
        Target::Code(code) => {
            add(OsStr::new("-c"));
            add(code);
        }
        Target::Stdin => add(OsStr::new("-")),
    }
    words.extend(plan.args.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_tools_write_them() {
        assert_eq!(version_of("home = /usr\nversion = 3.12.1\n").as_deref(), Some("3.12"));
        assert_eq!(version_of("version_info = 3.13.0.final.0").as_deref(), Some("3.13"));
        assert_eq!(version_of("uv = 0.5.0\nversion_info=3.11.7").as_deref(), Some("3.11"));
        assert_eq!(version_of("home = /usr"), None);
    }

    #[test]
    fn an_environment_of_another_version_is_refused() {
        let directory = std::env::temp_dir().join(format!("quell-host-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("bin")).expect("can be made");
        std::fs::write(directory.join("bin/python"), "").expect("can be written");
        std::fs::write(directory.join("pyvenv.cfg"), "version = 2.7.18\n").expect("can be written");
        let error = environment(&directory).expect_err("another version").to_string();
        assert!(error.contains("Python 2.7") && error.contains("python -m quell run"), "{error}");
        let same = format!("version = {}.0\n", linked_version());
        std::fs::write(directory.join("pyvenv.cfg"), same).expect("can be written");
        assert_eq!(environment(&directory).expect("fits"), directory.join("bin/python"));
        std::fs::remove_dir_all(&directory).expect("is ours");
        assert!(environment(&directory).is_err());
    }
}
