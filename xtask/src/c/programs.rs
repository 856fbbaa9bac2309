//! Compiles the C tests and examples against an installation, and runs them, one after the other, each under the runner that
//! shows the stacks of a hang.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process;
use crate::workspace;

use super::install::PRIVATE;

/// Warnings are errors, and the language is the standard's own.
const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-pthread"];
const SANITIZERS: &[&str] =
    &["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

/// How the programs are linked and run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// With libquell.so.
    Shared,
    /// With libquell.a.
    Static,
    /// With libquell.a, under the address and undefined-behaviour sanitizers, which also look for leaks.
    Sanitized,
    /// With libquell.so, under valgrind's memcheck.
    Valgrind,
}

impl Way {
    const ALL: [Way; 4] = [Way::Shared, Way::Static, Way::Sanitized, Way::Valgrind];

    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Shared => "shared",
            Way::Static => "static",
            Way::Sanitized => "sanitized",
            Way::Valgrind => "valgrind",
        }
    }

    pub(super) fn named(word: &str) -> Option<Way> {
        Way::ALL.into_iter().find(|way| way.word() == word)
    }

    /// By how much less the stress tests go round.
    fn slower(self) -> u32 {
        match self {
            Way::Shared | Way::Static => 1,
            Way::Sanitized => 10,
            Way::Valgrind => 100,
        }
    }
}

/// A compiler's name: what the environment says, or the usual one.
pub(super) fn compiler(variable: &str, usual: &str) -> String {
    std::env::var(variable).ok().filter(|name| !name.is_empty()).unwrap_or(usual.to_owned())
}

/// Whether the C compiler can build, and this machine run, what the sanitizers watch.
pub(super) fn sanitizers_work() -> bool {
    let folder = workspace::c_stage();
    let (source, program) = (folder.join("empty.c"), folder.join("empty"));
    if std::fs::write(&source, "int main(void) { return 0; }\n").is_err() {
        return false;
    }
    let mut compile = Command::new(compiler("CC", "cc"));
    compile.args(SANITIZERS).arg(&source).arg("-o").arg(&program);
    let minute = Duration::from_secs(60);
    process::capture(compile, minute).is_some()
        && process::capture(Command::new(program), minute).is_some()
}

/// Compiles and runs every test, and every example; whether all were well. With a filter, only tests whose name contains it.
pub(super) fn run_all(way: Way, filter: Option<&String>) -> anyhow::Result<bool> {
    let mut good = true;
    for source in sources(&workspace::c_project().join("tests"))? {
        let name = stem(&source);
        good &= match compile(way, &source)? {
            Some(program) => {
                println!("-- {name}");
                runs(way, &name, &program, filter)?
            }
            None => report(&name, "compiles", false),
        };
    }
    if filter.is_none() {
        let mut examples = sources(&workspace::c_examples())?;
        examples.extend(documented()?);
        for source in examples {
            let name = format!("example {}", stem(&source));
            let ran = match compile(way, &source)? {
                Some(program) => runs(way, &name, &program, None)?,
                None => false,
            };
            good &= report(&name, "runs", ran);
        }
    }
    Ok(good)
}

/// What has no closing line of its own: one test.
fn report(name: &str, what: &str, good: bool) -> bool {
    let (word, passed) = if good { ("ok", 1) } else { ("FAILED", 0) };
    println!("test {name} {what} ... {word}");
    println!("test result: {word}. {passed} passed; {} failed; 0 ignored", 1 - passed);
    good
}

/// The C and C++ files of a folder, in order.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut sources: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "c" || extension == "cpp")
        })
        .collect();
    sources.sort();
    Ok(sources)
}

/// The programs in the documents, each in a file of its own, named after its document and its line there.
fn documented() -> anyhow::Result<Vec<PathBuf>> {
    let folder = workspace::c_stage().join("documents");
    std::fs::create_dir_all(&folder)?;
    let mut sources = Vec::new();
    for document in [workspace::root().join("README.md"), workspace::book().join("c.md")] {
        let text =
            std::fs::read_to_string(&document).with_context(|| document.display().to_string())?;
        for (line, program) in programs_in(&text) {
            let source = folder.join(format!("{}_{line}.c", stem(&document)));
            std::fs::write(&source, program)?;
            sources.push(source);
        }
    }
    Ok(sources)
}

/// The blocks of C in a document, with the line where each begins.
fn programs_in(text: &str) -> Vec<(usize, String)> {
    let mut programs = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```c" => open = Some((at + 2, String::new())),
            None => {}
            Some(_) if line == "```" => programs.extend(open.take()),
            Some((_, program)) => {
                program.push_str(line);
                program.push('\n');
            }
        }
    }
    programs
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The program; `None` if it does not compile, of which the compiler has said why.
fn compile(way: Way, source: &Path) -> anyhow::Result<Option<PathBuf>> {
    let stage = workspace::c_stage();
    let lib = stage.join("lib");
    let folder = stage.join("bin").join(way.word());
    std::fs::create_dir_all(&folder)?;
    let program = folder.join(stem(source));
    let mut command = match source.extension().is_some_and(|extension| extension == "cpp") {
        true => Command::new(compiler("CXX", "c++")),
        false => Command::new(compiler("CC", "cc")),
    };
    let standard = match source.extension().is_some_and(|extension| extension == "cpp") {
        true => "-std=c++17",
        false => "-std=c11",
    };
    command.arg(standard).args(WARNINGS);
    if way == Way::Sanitized {
        command.args(SANITIZERS);
    }
    command.arg("-I").arg(stage.join("include")).arg(source).arg("-o").arg(&program);
    match way {
        Way::Shared | Way::Valgrind => {
            command.arg("-L").arg(&lib).arg("-lquell");
            command.arg(format!("-Wl,-rpath,{}", lib.display()));
        }
        Way::Static | Way::Sanitized => {
            command.arg(lib.join("libquell.a")).args(PRIVATE);
        }
    }
    let status = command.status().with_context(|| format!("{command:?}"))?;
    Ok(status.success().then_some(program))
}

/// Runs a program; whether it ended with 0.
fn runs(way: Way, name: &str, program: &Path, filter: Option<&String>) -> anyhow::Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("runner");
    if way == Way::Valgrind {
        command.env("QUELL_VALGRIND", "1");
        command.args(["valgrind", "--quiet", "--error-exitcode=9", "--fair-sched=yes"]);
        if name == "fork" {
            // What the threads of the parent had is lost in the child, as it must be.
            command.arg("--leak-check=no");
        } else {
            command.args(["--leak-check=full", "--show-leak-kinds=definite,indirect"]);
            command.arg("--errors-for-leak-kinds=definite,indirect");
        }
    }
    command.arg(program).args(filter);
    command.env("QUELL_SLOW", way.slower().to_string());
    if name == "fork" {
        // As above.
        command.env("ASAN_OPTIONS", "detect_leaks=0");
    }
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        println!("{name}, {}: {status}", way.word());
    }
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::programs_in;

    #[test]
    fn programs_are_the_blocks_of_c() {
        let text = "a\n```c\nint main(void) {}\n```\n```sh\ncc\n```\n```c\nint x;\n```\n";
        let found = programs_in(text);
        assert_eq!(found, [(3, "int main(void) {}\n".to_owned()), (9, "int x;\n".to_owned())]);
    }
}
