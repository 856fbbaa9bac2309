//! Cargo's helpers that are not part of the toolchain: found on the path, or installed into `target/tools`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::session::{Kind, Session, Step};
use crate::workspace;

/// A minute or two on two cores; more where the network is slow.
const LIMIT: Duration = Duration::from_secs(1200);

/// A helper of cargo.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    /// What is typed after `cargo`.
    pub(crate) name: &'static str,
    package: &'static str,
    pub(crate) version: &'static str,
}

/// Runs tests, each in its own process, and kills and names those that hang.
pub(crate) const NEXTEST: Tool =
    Tool { name: "nextest", package: "cargo-nextest", version: "0.9.143" };
/// Checks licences and sources of dependencies.
pub(crate) const DENY: Tool = Tool { name: "deny", package: "cargo-deny", version: "0.20.2" };

impl Tool {
    /// The program, if it is on the path or was installed here before.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![workspace::tools().join("bin")];
        folders.extend(std::env::split_paths(&path));
        folders.into_iter().map(|folder| folder.join(self.package)).find(|file| file.is_file())
    }

    /// A command for it, to be given the arguments that follow its name; `None` if it is not here.
    pub(crate) fn command(self) -> Option<Command> {
        let mut command = Command::new(self.find()?);
        command.arg(self.name);
        Some(command)
    }

    /// Installs it unless it is here.
    pub(crate) fn install(self, session: &mut Session) -> bool {
        match self.installation() {
            Some(step) => session.run(LIMIT, step),
            None => true,
        }
    }

    /// What installs it into `target/tools`, unless it is here. Without optimisation: it runs for seconds, and is built in a
    /// quarter of the time.
    pub(crate) fn installation(self) -> Option<Step> {
        if self.find().is_some() {
            return None;
        }
        let mut command = Command::new("cargo");
        command.args(["install", "--quiet", "--locked", "--debug", "--version", self.version]);
        command.arg("--root").arg(workspace::tools());
        command.arg("--target-dir").arg(workspace::target_of("tools"));
        command.arg(self.package);
        Some(Step::new(format!("install {}", self.package), Kind::Chore, command))
    }
}

/// Installs all of them, for `cargo xtask tools`.
pub(crate) fn install_all() -> anyhow::Result<()> {
    let mut session = Session::new();
    for tool in [NEXTEST, DENY] {
        tool.install(&mut session);
        if let Some(file) = tool.find() {
            println!("{}: {}", tool.package, file.display());
        }
    }
    match session.close() {
        true => Ok(()),
        false => anyhow::bail!("not every tool could be installed"),
    }
}
