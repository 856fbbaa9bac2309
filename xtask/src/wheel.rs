//! `cargo xtask wheel`: the wheels that are published, one for each interpreter, in `dist/`.

use crate::args::Options;
use crate::builds;
use crate::pythons;
use crate::session::Session;
use crate::venv;
use crate::workspace;

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
            built.push(interpreter.minor());
        }
    }
    anyhow::ensure!(!built.is_empty(), "no wheel was built");
    Ok(())
}
