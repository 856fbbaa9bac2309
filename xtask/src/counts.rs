//! Reads how many tests ran from what test runners print.
//!
//! Three closing lines are understood: cargo-nextest's, libtest's (`cargo test`, doctests) and pytest's. Names of
//! failed tests are picked up on the way, so that the end of a long run can list them.

use std::ops::AddAssign;

/// Tests of one step, or of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// `12 passed, 0 failed`, and `, 3 skipped` when there are any.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        match self.skipped {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

/// What a stream of output lines has told so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<String>,
}

impl Reader {
    /// Looks at one line of a runner's output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colour(line);
        if is_quoted(&line) {
            return;
        }
        let line = line.trim();
        if let Some(counts) = closing_line(line) {
            self.counts += counts;
        } else if let Some(name) = failed_test(line)
            && !self.failures.contains(&name)
        {
            self.failures.push(name);
        }
    }
}

/// Whether the line is one of libtest's that nextest repeats, indented, where it shows the output of a failed test.
fn is_quoted(line: &str) -> bool {
    line.starts_with(' ') && line.trim_start().starts_with("test ")
}

/// The counts of a runner's closing line; `None` for every other line.
fn closing_line(line: &str) -> Option<Counts> {
    let body = if let Some(rest) = line.strip_prefix("test result:") {
        rest.split_once(". ")?.1
    } else if line.starts_with("Summary [") {
        line.split_once(" run: ")?.1
    } else {
        pytest_summary(line)?
    };
    let mut counts = Counts::default();
    for part in body.split([',', ';', '(']) {
        let mut words = part.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        match words.collect::<Vec<_>>().join(" ").trim_end_matches(')') {
            "passed" | "xpassed" => counts.passed += number,
            "failed" | "error" | "errors" | "timed out" | "exec failed" => counts.failed += number,
            "skipped" | "ignored" | "xfailed" => counts.skipped += number,
            _ => {}
        }
    }
    Some(counts)
}

/// `3 passed, 1 skipped in 0.12s`, with or without the frame of `=`; `None` if the line is something else.
fn pytest_summary(line: &str) -> Option<&str> {
    let line = line.trim_matches('=').trim();
    let (body, time) = line.rsplit_once(" in ")?;
    let seconds = time.split_whitespace().next()?.strip_suffix('s')?;
    seconds.parse::<f64>().ok()?;
    let counted = |part: &str| {
        let mut words = part.split_whitespace();
        words.next().is_some_and(|number| number.parse::<u64>().is_ok())
            && matches!(
                words.next(),
                Some(
                    "passed"
                        | "failed"
                        | "error"
                        | "errors"
                        | "skipped"
                        | "deselected"
                        | "xfailed"
                        | "xpassed"
                        | "warning"
                        | "warnings"
                        | "rerun"
                        | "subtests"
                )
            )
    };
    body.split(", ").all(counted).then_some(body)
}

/// The name of a test that a line reports as failed.
fn failed_test(line: &str) -> Option<String> {
    // nextest: `FAIL [   0.012s] (3/9) quell::park wakes`, also TIMEOUT, SIGABRT and the like.
    if let Some((status, rest)) = line.split_once(" [")
        && let Some((_, name)) = rest.split_once("] ")
        && (matches!(status, "FAIL" | "TIMEOUT" | "ABORT") || status.starts_with("SIG"))
    {
        let name = match name.trim_start().strip_prefix('(') {
            Some(numbered) => numbered.split_once(')').map_or(name, |(_, rest)| rest),
            None => name,
        };
        return Some(name.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
    {
        return Some(name.to_owned());
    }
    // pytest's short summary: `FAILED tests/test_lock.py::test_with - AssertionError`. Its progress lines, in which
    // the status follows the name, say the same again.
    for status in ["FAILED ", "ERROR "] {
        if let Some(rest) = line.strip_prefix(status)
            && rest.contains(".py")
        {
            return Some(rest.to_owned());
        }
    }
    None
}

/// The line less its ANSI escape sequences.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            for inside in characters.by_ref() {
                if inside.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{Counts, Reader, closing_line};

    fn read(text: &str) -> Reader {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader
    }

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn nextest() {
        assert_eq!(
            closing_line("Summary [   0.012s] 5 tests run: 5 passed, 2 skipped"),
            counts(5, 0, 2)
        );
        assert_eq!(
            closing_line(
                "Summary [  1.500s] 9/12 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 0 skipped"
            ),
            counts(6, 3, 0)
        );
    }

    #[test]
    fn libtest() {
        assert_eq!(
            closing_line(
                "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.01s"
            ),
            counts(3, 1, 2)
        );
    }

    #[test]
    fn pytest() {
        assert_eq!(closing_line("3 passed, 1 skipped in 0.12s"), counts(3, 0, 1));
        assert_eq!(
            closing_line(
                "===== 1 failed, 30 passed, 2 errors, 1 xfailed in 75.02s (0:01:15) ====="
            ),
            counts(30, 3, 1)
        );
        assert_eq!(closing_line("== no tests ran in 0.01s =="), None);
        assert_eq!(closing_line("waited 3 times in 2s"), None);
    }

    #[test]
    fn counts_of_several_binaries_add_up() {
        let text = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(Some(read(text).counts), counts(5, 0, 1));
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted() {
        let text =
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out
     Summary [  1.500s] 3 tests run: 2 passed, 1 failed, 0 skipped";
        assert_eq!(Some(read(text).counts), counts(2, 1, 0));
    }

    #[test]
    fn failures_are_named_once() {
        let text = "        FAIL [   0.010s] (1/3) quell::park wakes_once
     SIGABRT [   0.010s] (2/3) quell park::tests::aborts
        PASS [   0.010s] (3/3) quell park::tests::fine
        FAIL [   0.010s] (1/3) quell::park wakes_once
    test wakes_once ... FAILED
test park::tests::b ... FAILED
\u{1b}[31mFAILED\u{1b}[0m tests/test_a.py::test_b - AssertionError: 1
FAILED tests/test_a.py::test_b - AssertionError: 1";
        assert_eq!(
            read(text).failures,
            [
                "quell::park wakes_once",
                "quell park::tests::aborts",
                "park::tests::b",
                "tests/test_a.py::test_b - AssertionError: 1"
            ]
        );
    }

    #[test]
    fn the_total_reads_as_a_closing_line() {
        assert_eq!(counts(4, 0, 0).unwrap().to_string(), "4 passed, 0 failed");
        assert_eq!(counts(4, 1, 2).unwrap().to_string(), "4 passed, 1 failed, 2 skipped");
    }
}
