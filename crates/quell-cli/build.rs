//! How the command is linked with the CPython that it embeds.
//!
//! With the interpreter's static library, where the installation has one: that is how `python` itself is linked where nobody has asked
//! for anything else, and a script runs up to a fifth faster than with the shared one, whose functions and variables are reached through
//! tables, and starts a millisecond earlier. Everything in it is linked, and its API is exported, because extension modules look
//! for it in the program. `QUELL_LINK=shared` asks for the shared library all the same; `QUELL_LINK=static` for no other.
//!
//! The linker is told where the shared library stands, because a binary without that can silently load another one of the same minor
//! version.
//!
//! The program has a fixed address: otherwise each start corrects thousands of addresses in it, and copies the pages that hold them; and
//! an archive may have been compiled for nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use pyo3_build_config::InterpreterConfig;

fn main() {
    println!("cargo:rerun-if-env-changed=PYO3_BUILD_EXTENSION_MODULE");
    println!("cargo:rerun-if-env-changed=QUELL_LINK");
    println!("cargo:rustc-check-cfg=cfg(static_python)");
    let config = pyo3_build_config::get();
    let wish = std::env::var("QUELL_LINK").unwrap_or_default();
    match wish.as_str() {
        "shared" => link_shared(config),
        "static" => match Archive::of(config) {
            Ok(archive) => archive.link(),
            Err(reason) => panic!("QUELL_LINK=static: {reason}"),
        },
        "" => match Archive::of(config) {
            Ok(archive) => archive.link(),
            Err(_) => link_shared(config),
        },
        _ => panic!("QUELL_LINK is {wish:?}; it can be `static` or `shared`"),
    }
    for programs in ["bins", "tests"] {
        println!("cargo:rustc-link-arg-{programs}=-no-pie");
    }
}

fn linker() -> String {
    std::env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".into())
}

fn link_shared(config: &InterpreterConfig) {
    pyo3_build_config::add_libpython_rpath_link_args();
    if std::env::var_os("PYO3_BUILD_EXTENSION_MODULE").is_none() {
        // PyO3 names the library itself.
        return;
    }
    // Built for an extension it does not. With this the command can be linked from the crates that an extension was built of.
    let library = config.lib_name().expect("PyO3 knows the library of an interpreter it has run");
    if let Some(folder) = config.lib_dir() {
        println!("cargo:rustc-link-arg-bins=-L{folder}");
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folder}");
    }
    println!("cargo:rustc-link-arg-bins=-l{library}");
}

/// A static library of CPython, and what it needs besides.
struct Archive {
    path: PathBuf,
    /// Words for the linker: where libraries are, and which.
    needs: Vec<String>,
}

/// Prints the static library's path, then a line for each word that its program is linked with.
const ASK: &str = r"
import os, sysconfig
of = lambda name: sysconfig.get_config_var(name) or ''
print(os.path.join(of('LIBPL'), of('LIBRARY')))
folder = of('LIBDIR')
words = ' '.join(map(of, ['LIBS', 'MODLIBS', 'SYSLIBS'])).split()
libraries = list(dict.fromkeys(word for word in words if word.startswith('-l')))
if set(libraries) - {'-ldl', '-lm', '-lpthread', '-lutil', '-lrt'} and not folder.startswith(('/usr/lib', '/lib')):
    print('-L' + folder, '-Wl,-rpath,' + folder, sep='\n')
print(*libraries, sep='\n')
";

/// Every object of the archive is in it, and can be linked only if it is machine code and nothing is missing.
const TRIAL: &str = "int Py_RunMain(void);\nint main(void) { return Py_RunMain(); }\n";

impl Archive {
    /// The interpreter's own, or why it cannot be used.
    fn of(config: &InterpreterConfig) -> Result<Self, String> {
        let for_this_machine = std::env::var("TARGET") == std::env::var("HOST");
        if !for_this_machine || !cfg!(target_os = "linux") {
            return Err(
                "CPython's static library is used in builds on Linux, for the same machine".into(),
            );
        }
        let python = config.executable().ok_or("PyO3 has run no interpreter")?;
        let said = Command::new(python).args(["-I", "-c", ASK]).output();
        let said = said.map_err(|error| format!("{python}: {error}"))?;
        let said = String::from_utf8(said.stdout).map_err(|error| format!("{python}: {error}"))?;
        let mut lines = said.lines();
        let path = PathBuf::from(lines.next().unwrap_or_default());
        let archive = Self { path, needs: lines.map(str::to_owned).collect() };
        if !archive.path.is_file() {
            return Err(format!(
                "{python} was installed without one, at {}",
                archive.path.display()
            ));
        }
        println!("cargo:rerun-if-changed={}", archive.path.display());
        archive.try_out()?;
        Ok(archive)
    }

    /// Links a program with it. It may hold the compiler's own code instead of the machine's, or need a library that is not here.
    fn try_out(&self) -> Result<(), String> {
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
        let (source, program) = (out.join("trial.c"), out.join("trial"));
        std::fs::write(&source, TRIAL).map_err(|error| format!("{}: {error}", source.display()))?;
        let linker = linker();
        let tried = Command::new(&linker)
            .args(["-no-pie", "-fno-lto", "-o"])
            .args([&program, &source])
            .arg("-Wl,--whole-archive")
            .arg(&self.path)
            .arg("-Wl,--no-whole-archive")
            .args(&self.needs)
            .output()
            .map_err(|error| format!("{linker}: {error}"))?;
        let _ = std::fs::remove_file(program);
        if tried.status.success() {
            return Ok(());
        }
        let path = self.path.display();
        Err(format!("{path} cannot be linked:\n{}", String::from_utf8_lossy(&tried.stderr)))
    }

    fn link(&self) {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.trim_start_matches("lib");
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-cfg=static_python");
        // Before PyO3's mention of the shared library, which then has nothing to give any more, and is left out.
        println!("cargo:rustc-link-lib=static:+whole-archive,-bundle={name}");
        for word in &self.needs {
            println!("cargo:rustc-link-arg-bins={word}");
        }
        for names in ["Py*", "_Py*"] {
            println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={names}");
        }
    }
}
