//! Under which licences the dependencies stand, and where they come from: what `deny.toml` says of both, by cargo's own means, where
//! cargo-deny is not installed.

use std::time::Duration;

use crate::builds;
use crate::process;
use crate::workspace;

/// What is wrong, a line each; empty when nothing is.
pub(crate) fn check() -> String {
    let deny = std::fs::read_to_string(workspace::root().join("deny.toml")).unwrap_or_default();
    let (Some(allowed), Some(exceptions)) = (list(&deny, "allow"), list(&deny, "exceptions"))
    else {
        return "deny.toml names no licences".into();
    };
    let mut tree = builds::cargo(["tree", "--workspace", "--all-features"]);
    tree.args([
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}|{l}",
    ]);
    let Some(listed) = process::capture(tree, Duration::from_secs(60)) else {
        return "cargo tree failed".into();
    };
    let mut problems: Vec<String> =
        listed.lines().filter_map(|line| problem(line, allowed, exceptions)).collect();
    problems.sort();
    problems.dedup();
    problems.join("\n")
}

/// The text between the brackets of `NAME = [ … ]`, up to the end of its line.
fn list<'a>(toml: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = toml.lines();
    lines.find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix("= ["))
}

/// What is wrong with a line of `cargo tree`: `name v1.2.3|LICENCE`, with a source before the bar if it is not crates.io.
fn problem(line: &str, allowed: &str, exceptions: &str) -> Option<String> {
    let (package, licence) = line.rsplit_once('|')?;
    let package = package.trim_end_matches(" (proc-macro)");
    let name = package.split(' ').next()?;
    if package.contains(" (http") || package.contains(" (registry") {
        return Some(format!("{package} does not come from crates.io"));
    }
    let excepted = exceptions.split('}').find(|entry| entry.contains(&format!("\"{name}\"")));
    let is_allowed = |licence: &str| {
        let quoted = format!("\"{}\"", licence.trim_matches(['(', ')', ' ']));
        allowed.contains(&quoted) || excepted.is_some_and(|entry| entry.contains(&quoted))
    };
    // Of the alternatives one must be allowed as a whole. `/` is an old form of `OR`.
    let either = licence.replace('/', " OR ");
    let satisfied = match either.contains(") AND ") || either.contains(" AND (") {
        true => either.split(" AND ").all(|part| part.split(" OR ").any(is_allowed)),
        false => either.split(" OR ").any(|part| part.split(" AND ").all(is_allowed)),
    };
    (!satisfied)
        .then(|| format!("{package} stands under {licence:?}, which deny.toml does not allow"))
}

#[cfg(test)]
mod tests {
    use super::{list, problem};

    const DENY: &str = "allow = [\"MIT\", \"Apache-2.0\", \"Unicode-3.0\"]
exceptions = [{ crate = \"cbindgen\", allow = [\"MPL-2.0\"] }]";

    fn is_fine(line: &str) -> bool {
        problem(line, list(DENY, "allow").unwrap(), list(DENY, "exceptions").unwrap()).is_none()
    }

    #[test]
    fn one_alternative_must_be_allowed_as_a_whole() {
        assert!(is_fine("a v1.0.0|MIT"));
        assert!(is_fine("a v1.0.0 (proc-macro)|MIT/Apache-2.0"));
        assert!(is_fine("a v1.0.0|GPL-3.0 OR MIT"));
        assert!(is_fine("a v1.0.0|(MIT OR GPL-3.0) AND Unicode-3.0"));
        assert!(!is_fine("a v1.0.0|GPL-3.0"));
        assert!(!is_fine("a v1.0.0|MIT AND GPL-3.0"));
        assert!(!is_fine("a v1.0.0|(MIT OR GPL-3.0) AND GPL-2.0"));
        assert!(!is_fine("a v1.0.0|"));
    }

    #[test]
    fn an_exception_is_for_one_crate() {
        assert!(is_fine("cbindgen v0.29.4|MPL-2.0"));
        assert!(!is_fine("other v0.29.4|MPL-2.0"));
    }

    #[test]
    fn where_a_crate_comes_from() {
        assert!(is_fine("quell v0.1.0 (/home/me/quell/crates/quell)|MIT OR Apache-2.0"));
        assert!(!is_fine("a v1.0.0 (https://example.com/a#0123)|MIT"));
        assert!(!is_fine("a v1.0.0 (registry `other`)|MIT"));
    }
}
