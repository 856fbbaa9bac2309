//! Finds the CPython interpreters of this machine that quell supports.
//!
//! A name on the path proves nothing: pyenv's shims are scripts that run whatever is active, a virtual environment's
//! `python3` is a link to another one, Debian's `python3` is a link to `python3.11`. So each candidate is *run*, and
//! says itself where the interpreter behind it stands and what it can do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process;

/// The oldest version that is supported: 3.11.
const OLDEST: (u32, u32) = (3, 11);
/// The newest version whose name is looked for.
const NEWEST: u32 = 16;

/// Printed by each candidate: one `name=value` a line.
const PROBE: &str = r"
import importlib.util, os, platform, sys, sysconfig
base = getattr(sys, '_base_executable', None) or sys.executable
folder, library = sysconfig.get_config_var('LIBDIR'), sysconfig.get_config_var('LDLIBRARY')
library = os.path.join(folder or '', library or '')
shared = sysconfig.get_config_var('Py_ENABLE_SHARED') and os.path.exists(library)
static = [sysconfig.get_config_var(name) or '' for name in ('LIBPL', 'LIBRARY')]
has = lambda name: int(importlib.util.find_spec(name) is not None)
print('executable=' + os.path.realpath(base))
print('version=' + '.'.join(map(str, sys.version_info[:3])))
print('release=' + sys.version_info.releaselevel)
print('implementation=' + platform.python_implementation())
print('free_threaded=%d' % bool(sysconfig.get_config_var('Py_GIL_DISABLED')))
print('debug=%d' % hasattr(sys, 'gettotalrefcount'))
print('library=' + (library if shared else ''))
print('static=%d' % os.path.isfile(os.path.join(*static)))
print('ensurepip=%d' % has('ensurepip'))
print('pip=%d' % has('pip'))
";

/// An interpreter that can run the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Names its folders and its steps: `3.12.1`, or `3.12.1-2` for a second one of the same version; `3.12.1d` for a debug build.
    pub(crate) tag: String,
    /// `3.12.1`.
    pub(crate) version: String,
    /// The program itself, links resolved.
    pub(crate) executable: PathBuf,
    /// The shared library, which tests that embed the interpreter are linked with.
    pub(crate) library: Option<PathBuf>,
    /// There is a static one.
    pub(crate) has_static: bool,
    /// It brings pip with it in `ensurepip`.
    pub(crate) ensurepip: bool,
    /// pip is installed beside it.
    pub(crate) pip: bool,
    /// It counts all references and checks itself, which takes time: for the package's tests alone.
    debug: bool,
}

impl Interpreter {
    /// `3.12`: what an extension is built for.
    pub(crate) fn minor(&self) -> &str {
        self.version.rsplit_once('.').map_or("", |(minor, _)| minor)
    }

    /// The command can be linked with it; otherwise only the extension can be built.
    pub(crate) fn embeds(&self) -> bool {
        self.library.is_some() || self.has_static
    }
}

impl std::fmt::Display for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CPython {} ({})", self.version, self.executable.display())
    }
}

/// Every supported interpreter but the debug builds, oldest first.
///
/// # Errors
/// When `QUELL_PYTHONS` names one that cannot be used, or when none is found at all.
pub(crate) fn find() -> anyhow::Result<Vec<Interpreter>> {
    let found = all(false)?;
    if found.is_empty() {
        bail!(
            "no CPython {}.{} or later was found on the path, in pyenv's versions or in /usr/bin; install one, or \
             name it in QUELL_PYTHONS",
            OLDEST.0,
            OLDEST.1
        );
    }
    Ok(found)
}

/// The debug builds, oldest first; mostly there are none.
///
/// # Errors
/// When `QUELL_PYTHONS` names an interpreter that cannot be used.
pub(crate) fn debug_builds() -> anyhow::Result<Vec<Interpreter>> {
    all(true)
}

fn all(debug: bool) -> anyhow::Result<Vec<Interpreter>> {
    let mut found = Vec::new();
    if let Some(named) = std::env::var_os("QUELL_PYTHONS") {
        for path in std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()) {
            let interpreter =
                ask(&path).with_context(|| format!("QUELL_PYTHONS names {}", path.display()))?;
            found.push(interpreter);
        }
    } else {
        found.extend(candidates().iter().filter_map(|path| ask(path).ok()));
    }
    found.retain(|interpreter| interpreter.debug == debug);
    Ok(sorted_and_tagged(found))
}

/// The interpreter that a plain `cargo build` links against, if it is one that can be linked: PyO3 looks at these
/// places in this order.
pub(crate) fn default_of_cargo() -> Option<Interpreter> {
    let first = if let Some(named) = std::env::var_os("PYO3_PYTHON") {
        named.into()
    } else if let Some(folder) = std::env::var_os("VIRTUAL_ENV") {
        Path::new(&folder).join("bin/python")
    } else {
        ["python", "python3"].map(PathBuf::from).into_iter().find(|name| runs(name))?
    };
    ask(&first).ok().filter(|interpreter| interpreter.library.is_some())
}

/// Prints what was found, for `cargo xtask pythons`.
pub(crate) fn list() -> anyhow::Result<()> {
    for interpreter in find()?.into_iter().chain(debug_builds()?) {
        let mut remarks = Vec::new();
        if interpreter.debug {
            remarks.push("a debug build: only the package's tests run on it");
        } else if !interpreter.embeds() {
            remarks.push("no library: the command cannot be linked (Debian: libpython3-dev)");
        } else if interpreter.library.is_none() {
            remarks.push("no shared library: Rust tests that embed Python leave it out");
        }
        if !interpreter.ensurepip && !interpreter.pip {
            remarks.push("no pip: one of another interpreter is used (Debian: python3-venv)");
        }
        println!("{:<10} {}", interpreter.tag, interpreter.executable.display());
        remarks.iter().for_each(|remark| println!("{:<10} {remark}", ""));
    }
    if let Some(interpreter) = default_of_cargo() {
        println!("cargo build links {interpreter}");
    }
    Ok(())
}

/// Paths that may be interpreters, each file once.
fn candidates() -> Vec<PathBuf> {
    let mut names: Vec<String> = vec!["python3".into(), "python".into()];
    names.extend((OLDEST.1..=NEWEST).map(|minor| format!("python3.{minor}")));
    names.extend((13..=NEWEST).map(|minor| format!("python3.{minor}t")));
    // Debian's, and what CPython's own installation calls a debug build.
    names.extend((OLDEST.1..=NEWEST).map(|minor| format!("python3.{minor}d")));
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    for versions in [pyenv.join("versions"), home.join(".local/share/uv/python")] {
        let versions = std::fs::read_dir(versions).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    let mut seen = BTreeSet::new();
    folders
        .iter()
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .filter(|path| std::fs::canonicalize(path).is_ok_and(|file| seen.insert(file)))
        .collect()
}

fn runs(name: &Path) -> bool {
    let mut command = Command::new(name);
    command.args(["-c", "print(1)"]);
    process::capture(command, Duration::from_secs(20)).is_some()
}

/// Runs a candidate and believes what it says of itself.
fn ask(path: &Path) -> anyhow::Result<Interpreter> {
    let mut command = Command::new(path);
    command.args(["-I", "-c", PROBE]);
    let Some(answer) = process::capture(command, Duration::from_secs(20)) else {
        bail!("it does not run Python code");
    };
    read(&answer)
}

fn read(answer: &str) -> anyhow::Result<Interpreter> {
    let field = |name: &str| {
        let mut lines = answer.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    };
    let version = field("version");
    if field("implementation") != "CPython" {
        bail!("it is {}, not CPython", field("implementation"));
    }
    if field("release") != "final" || parsed(version) < [OLDEST.0, OLDEST.1, 0] {
        bail!(
            "it is CPython {version} {}; {}.{} is the oldest",
            field("release"),
            OLDEST.0,
            OLDEST.1
        );
    }
    if field("free_threaded") == "1" {
        bail!("it is a free-threaded build, which is not supported yet");
    }
    let library = field("library");
    let debug = field("debug") == "1";
    Ok(Interpreter {
        tag: format!("{version}{}", if debug { "d" } else { "" }),
        version: version.to_owned(),
        executable: field("executable").into(),
        library: (!library.is_empty()).then(|| library.into()),
        has_static: field("static") == "1",
        ensurepip: field("ensurepip") == "1",
        pip: field("pip") == "1",
        debug,
    })
}

/// One entry for each executable, oldest version first, tags made unique.
fn sorted_and_tagged(mut found: Vec<Interpreter>) -> Vec<Interpreter> {
    let mut seen = BTreeSet::new();
    found.retain(|interpreter| seen.insert(interpreter.executable.clone()));
    found.sort_by_key(|interpreter| (parsed(&interpreter.version), interpreter.executable.clone()));
    for index in 1..found.len() {
        let earlier = found[..index].iter().filter(|other| other.version == found[index].version);
        let count = earlier.count();
        if count > 0 {
            found[index].tag = format!("{}-{}", found[index].tag, count + 1);
        }
    }
    found
}

fn parsed(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{Interpreter, read, sorted_and_tagged};

    fn answer(version: &str, implementation: &str) -> String {
        format!(
            "executable=/opt/p/bin/python3\nversion={version}\nrelease=final\nimplementation={implementation}\n\
             free_threaded=0\nlibrary=/opt/p/lib/libpython3.so\nstatic=0\nensurepip=1\npip=0\n"
        )
    }

    fn interpreter(version: &str, executable: &str) -> Interpreter {
        let mut interpreter = read(&answer(version, "CPython")).unwrap();
        interpreter.executable = executable.into();
        interpreter
    }

    #[test]
    fn what_an_interpreter_says_is_read() {
        let found = read(&answer("3.12.1", "CPython")).unwrap();
        assert_eq!((found.tag.as_str(), found.ensurepip, found.pip), ("3.12.1", true, false));
        assert_eq!(found.library.as_deref().unwrap().to_str(), Some("/opt/p/lib/libpython3.so"));
    }

    #[test]
    fn the_command_can_be_linked_with_either_library() {
        let shared = answer("3.12.1", "CPython");
        let none = shared.replace("/opt/p/lib/libpython3.so", "");
        let of_static = none.replace("static=0", "static=1");
        let embeds = |answer: &str| read(answer).unwrap().embeds();
        assert_eq!([&shared, &none, &of_static].map(|answer| embeds(answer)), [true, false, true]);
    }

    #[test]
    fn a_debug_build_has_a_name_of_its_own() {
        let found = read(&format!("{}debug=1\n", answer("3.12.1", "CPython"))).unwrap();
        assert_eq!((found.tag.as_str(), found.minor(), found.debug), ("3.12.1d", "3.12", true));
        assert!(!read(&answer("3.12.1", "CPython")).unwrap().debug);
        let twice = sorted_and_tagged(vec![
            found.clone(),
            Interpreter { executable: "/b".into(), ..found },
        ]);
        assert_eq!([twice[0].tag.as_str(), twice[1].tag.as_str()], ["3.12.1d", "3.12.1d-2"]);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        assert!(read(&answer("3.12.1", "PyPy")).unwrap_err().to_string().contains("PyPy"));
        assert!(read(&answer("3.9.18", "CPython")).unwrap_err().to_string().contains("3.9.18"));
        let threaded = answer("3.14.0", "CPython").replace("threaded=0", "threaded=1");
        assert!(read(&threaded).unwrap_err().to_string().contains("free-threaded"));
    }

    #[test]
    fn each_executable_once_oldest_first_tags_unique() {
        let found = sorted_and_tagged(vec![
            interpreter("3.13.0", "/a"),
            interpreter("3.11.10", "/b"),
            interpreter("3.11.7", "/d"),
            interpreter("3.11.7", "/c"),
            interpreter("3.13.0", "/a"),
        ]);
        let shown: Vec<_> =
            found.iter().map(|p| (p.tag.as_str(), p.executable.to_str().unwrap())).collect();
        assert_eq!(
            shown,
            [("3.11.7", "/c"), ("3.11.7-2", "/d"), ("3.11.10", "/b"), ("3.13.0", "/a")]
        );
    }
}
