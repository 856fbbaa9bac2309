//! Checks the links between the project's documents: each must lead to a file, and to a heading if it names one.
//!
//! Links to the web are left alone: whether they work is not this tree's affair. In the book, every chapter must be
//! in the summary. And a test that a document names in code, as `path/to/file.rs::test` or `file.py::test`, must exist.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::workspace;

/// One line for each broken link; empty if there is none.
pub(crate) fn check() -> String {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]);
    let Some(listed) = process::capture(command, Duration::from_secs(60)) else {
        return "git could not list the documents".into();
    };
    let root = workspace::root();
    let documents: Vec<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect();
    let mut problems = Vec::new();
    let mut linked = BTreeSet::new();
    for document in &documents {
        let text = std::fs::read_to_string(root.join(document)).unwrap_or_default();
        for link in links(&text) {
            match resolve(document, &link) {
                Some((file, heading)) => {
                    problems.extend(broken(&root, document, &link, &file, heading));
                    if document.ends_with("docs/src/SUMMARY.md") {
                        linked.insert(file);
                    }
                }
                None => continue,
            }
        }
        for (file, test) in named_tests(&text) {
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            if ["fn ", "def "].iter().all(|word| !source.contains(&format!("{word}{test}("))) {
                problems.push(format!("{}: there is no {file}::{test}", document.display()));
            }
        }
    }
    for chapter in documents.iter().filter(|path| path.starts_with("docs/src")) {
        if !chapter.ends_with("SUMMARY.md") && !linked.contains(chapter) {
            problems.push(format!("{}: not in docs/src/SUMMARY.md", chapter.display()));
        }
    }
    println!("   {} documents", documents.len());
    problems.join("\n")
}

/// What is wrong with a link, if anything.
fn broken(
    root: &Path,
    document: &Path,
    link: &str,
    file: &Path,
    heading: Option<&str>,
) -> Option<String> {
    let target = root.join(file);
    if !target.exists() {
        return Some(format!("{}: {link} leads to no file", document.display()));
    }
    let heading = heading?;
    if file.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let text = std::fs::read_to_string(target).unwrap_or_default();
    (!headings(&text).contains(heading))
        .then(|| format!("{}: {link} leads to no heading", document.display()))
}

/// The targets of all inline links and images outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let mut rest = without_code_spans(line);
        while let Some(start) = rest.find("](") {
            rest = rest.split_off(start + 2);
            if let Some(end) = rest.find(')') {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Tests that stand in code spans, each with its file.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    prose(text)
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".py"))
        .collect()
}

/// A line with its code spans left out. The text of a link may be code, so only what stands between backticks goes.
fn without_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("")
}

/// The file, relative to the top of the tree, and the heading that a link names; `None` if it leads to the web.
fn resolve<'a>(document: &Path, link: &'a str) -> Option<(PathBuf, Option<&'a str>)> {
    if link.contains("://") || link.starts_with("mailto:") || link.starts_with('<') {
        return None;
    }
    let (path, heading) = match link.split_once('#') {
        Some((path, heading)) => (path, Some(heading)),
        None => (link, None),
    };
    if path.is_empty() {
        return Some((document.to_owned(), heading));
    }
    let mut file = document.parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(file.pop()),
            Component::CurDir => {}
            other => file.push(other),
        }
    }
    Some((file, heading))
}

/// The anchors of a document's headings, as hosts of Markdown make them.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|&c| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_')
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The lines of a document outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_prose_only() {
        let text =
            "[a](b.md) and ![c](d.png \"title\")\n```\n[no](e.md)\n```\n`[no](f.md)` [`g`](h.md#x)";
        assert_eq!(links(text), ["b.md", "d.png", "h.md#x"]);
    }

    #[test]
    fn tests_are_named_in_code() {
        let text =
            "see `tests/a.rs::it_works`, `b/c.py::test_d` and `std::mem`\n```\n`x.rs::y`\n```";
        assert_eq!(named_tests(text), [("tests/a.rs", "it_works"), ("b/c.py", "test_d")]);
    }

    #[test]
    fn targets_are_relative_to_the_document() {
        let document = Path::new("docs/src/a.md");
        let at = |link| resolve(document, link);
        assert_eq!(at("b.md#x"), Some(("docs/src/b.md".into(), Some("x"))));
        assert_eq!(at("../../LICENSE"), Some(("LICENSE".into(), None)));
        assert_eq!(at("#x"), Some(("docs/src/a.md".into(), Some("x"))));
        assert_eq!(at("mailto:a@b"), None);
    }

    #[test]
    fn headings_become_anchors() {
        let text = "# What it is\n```\n# no heading\n```\n## `quell run`: 3 steps, and more";
        let anchors: Vec<_> = headings(text).into_iter().collect();
        assert_eq!(anchors, ["quell-run-3-steps-and-more", "what-it-is"]);
    }
}
