//! Licences, sources and versions of dependencies, and known vulnerabilities: cargo-deny's checks, for `cargo xtask lint`.
//!
//! What it says of licences, sources and versions follows from the manifests, `Cargo.lock` and `deny.toml` alone. A hash of these is
//! written down when they have passed, and stands in the repository: as long as it is right, a machine without cargo-deny need not
//! build it, which takes longer than all the other checks.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::builds::LIMIT;
use crate::process;
use crate::session::{Kind, Session, Step};
use crate::tools;
use crate::workspace;

/// How long fetching the database of advisories may take before it counts as out of reach.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// What installs cargo-deny, if it is needed and not here.
pub(crate) fn installation() -> Option<Step> {
    if passed() { None } else { tools::DENY.installation() }
}

/// Runs the checks, or says that they need not run.
pub(crate) fn check(session: &mut Session) {
    let deny = |arguments: &[&str]| -> Option<Command> {
        let mut command = tools::DENY.command()?;
        command.args(["--workspace", "--all-features"]).args(arguments);
        Some(command)
    };
    let Some(command) = deny(&["check", "bans", "licenses", "sources"]) else {
        // That it could not be installed has been said.
        if passed() {
            session.note(
                "cargo-deny is not installed; the dependencies are as they were when it passed them. Known vulnerabilities were not \
                 checked: `cargo xtask tools` installs it",
            );
        }
        return;
    };
    if session.step("cargo deny: bans, licences, sources", Kind::Check, LIMIT, command) && !passed()
    {
        match hash().and_then(|hash| Ok(std::fs::write(stamp(), hash)?)) {
            Ok(()) => session.note(format!("{} is new: commit it", workspace::shown(&stamp()))),
            Err(error) => session.fail("cargo deny: what has passed", format!("{error:#}")),
        }
    }
    let reached = deny(&["fetch", "db"]).and_then(|fetch| process::capture(fetch, FETCH_LIMIT));
    match (reached, deny(&["check", "--disable-fetch", "advisories"])) {
        (Some(_), Some(command)) => {
            session.step("cargo deny: advisories", Kind::Check, LIMIT, command);
        }
        _ => session.note(
            "known vulnerabilities were not checked: the database of advisories cannot be fetched from here",
        ),
    }
}

/// The hash of what has passed.
fn stamp() -> PathBuf {
    workspace::root().join("xtask/dependencies.passed")
}

/// Whether everything is as it was when it passed.
fn passed() -> bool {
    let noted = std::fs::read_to_string(stamp()).ok();
    noted.is_some() && noted == hash().ok()
}

/// Of all that the answer depends on, and of the version that answers.
fn hash() -> anyhow::Result<String> {
    let root = workspace::root();
    let mut files = vec![root.join("Cargo.toml"), root.join("Cargo.lock"), root.join("deny.toml")];
    files.extend(workspace::manifests()?);
    let mut hash = Fnv::default();
    hash.feed(tools::DENY.version.as_bytes());
    for file in files {
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        hash.feed(workspace::shown(&file).as_bytes());
        hash.feed(&text);
    }
    Ok(format!("{:016x}\n", hash.0))
}

/// FNV-1a, with 64 bits: the same everywhere and always, which the standard library's hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// And the length, so that what ends one part does not begin the next.
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied().chain(bytes.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fnv;

    fn of(parts: &[&str]) -> u64 {
        let mut hash = Fnv::default();
        parts.iter().for_each(|part| hash.feed(part.as_bytes()));
        hash.0
    }

    #[test]
    fn every_byte_and_every_border_counts() {
        let hashes = [of(&["ab", "c"]), of(&["a", "bc"]), of(&["abc"]), of(&["ab", "d"]), of(&[])];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{hashes:x?}");
        }
        assert_eq!(hashes[4], 0xcbf2_9ce4_8422_2325);
    }
}
