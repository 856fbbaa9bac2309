//! `cargo xtask wheel`: the wheels that are published, one for each interpreter, in `dist/`, each installed into an environment that
//! has nothing else, and tried there.

use std::path::Path;
use std::time::Duration;

use crate::args::Options;
use crate::builds;
use crate::pythons::{self, Interpreter};
use crate::session::{Kind, Session};
use crate::venv;
use crate::workspace;

/// What a user would try first.
const TRIAL: &str = include_str!("wheel_trial.py");
const LIMIT: Duration = Duration::from_secs(120);

/// Builds them. Two interpreters of one minor version make the same wheel; only the first of them builds it.
///
/// # Errors
/// When no interpreter is found, or maturin cannot be installed.
pub(crate) fn run(session: &mut Session, options: &Options) -> anyhow::Result<()> {
    let found = pythons::find()?;
    let tools = venv::tools(session, &found)?;
    let folder = workspace::root().join("dist");
    let mut built: Vec<&str> = Vec::new();
    for interpreter in found.iter().filter(|python| options.admits(&python.version)) {
        if built.contains(&interpreter.minor()) {
            continue;
        }
        if let Some(wheel) = builds::wheel(session, &tools, interpreter, &folder) {
            println!("   {}", workspace::shown(&wheel));
            try_out(session, &tools, interpreter, &wheel)?;
            built.push(interpreter.minor());
        }
    }
    anyhow::ensure!(!built.is_empty(), "no wheel was built");
    Ok(())
}

/// Installs a wheel where nothing else is, and uses it.
fn try_out(
    session: &mut Session,
    tools: &venv::Environment,
    interpreter: &Interpreter,
    wheel: &Path,
) -> anyhow::Result<()> {
    let environment = venv::empty(interpreter, &format!("wheel-{}", interpreter.tag))?;
    // The tools' pip: an interpreter may have none, as Debian's.
    let mut pip = tools.command("python");
    pip.args(["-m", "pip", "--python"]).arg(environment.program("python"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-index"]).arg(wheel);
    if session.step(format!("{}: install", interpreter.tag), Kind::Chore, LIMIT, pip) {
        let mut trial = environment.command("python");
        trial.args(["-I", "-X", "dev", "-W", "error", "-c", TRIAL]);
        session.step(format!("{}: trial", interpreter.tag), Kind::Chore, LIMIT, trial);
    }
    Ok(())
}
