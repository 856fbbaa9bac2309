//! One run of a chore: its steps, one after another or some together, their times, their tests, and the closing summary.

use std::fmt;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::counts::{Counts, Reader};
use crate::process::{self, Ending, Finished, Job};

/// What a step is to the count of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Prepares something; counted only when it fails.
    Chore,
    /// One check, counted as one test: a type checker, a lint.
    Check,
    /// A test runner, whose closing line is read. That it ran no test is a failure.
    Tests,
    /// A test runner that may find nothing to run.
    PerhapsTests,
}

impl Kind {
    fn is_tests(self) -> bool {
        matches!(self, Kind::Tests | Kind::PerhapsTests)
    }
}

/// A step that has ended.
struct Done {
    name: String,
    took: Took,
    counts: Counts,
    /// Why it failed, or empty.
    problem: String,
    failures: Vec<String>,
}

/// What a step took: on the clock, and of the processors. The second is the same on a busy machine.
#[derive(Clone, Copy, Default)]
struct Took {
    elapsed: Duration,
    processor: Duration,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} s {:>7.1} s", self.elapsed.as_secs_f64(), self.processor.as_secs_f64())
    }
}

/// A step that is to run together with others.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) command: Command,
    patient: bool,
}

impl Step {
    pub(crate) fn new(name: impl Into<String>, kind: Kind, command: Command) -> Self {
        Self { name: name.into(), kind, command, patient: false }
    }

    /// It gets what the others leave of the processors: nothing in it looks at the clock.
    pub(crate) fn patient(mut self) -> Self {
        self.patient = true;
        self
    }
}

/// The steps of a run so far.
pub(crate) struct Session {
    begun: Instant,
    done: Vec<Done>,
    notes: Vec<String>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), done: Vec::new(), notes: Vec::new() }
    }

    /// Runs a command as a step; `true` if it succeeded. Its output is passed on as it comes.
    pub(crate) fn step(
        &mut self,
        name: impl Into<String>,
        kind: Kind,
        limit: Duration,
        command: Command,
    ) -> bool {
        let name = name.into();
        println!("\n== {name}\n   {}", shown(&command));
        let mut reader = Reader::default();
        let finished = process::run(command, limit, |line| {
            if kind.is_tests() {
                reader.line(line);
            }
        });
        self.finish(name, kind, finished, reader)
    }

    /// [`step`](Self::step), with a step that was made before.
    pub(crate) fn run(&mut self, limit: Duration, step: Step) -> bool {
        self.step(step.name, step.kind, limit, step.command)
    }

    /// Runs steps that do not need each other at the same time; for each whether it succeeded. Each line of output is preceded by
    /// the step's name.
    pub(crate) fn together(&mut self, limit: Duration, steps: Vec<Step>) -> Vec<bool> {
        self.lanes(limit, steps.into_iter().map(|step| vec![step]).collect()).concat()
    }

    /// Runs lanes of steps at the same time, those of a lane one after the other; as [`together`](Self::together) otherwise.
    pub(crate) fn lanes(&mut self, limit: Duration, lanes: Vec<Vec<Step>>) -> Vec<Vec<bool>> {
        let begins: Vec<Vec<String>> = lanes
            .iter()
            .map(|lane| {
                let header =
                    |step: &Step| format!("\n== {}\n   {}", step.name, shown(&step.command));
                lane.iter().map(header).collect()
            })
            .collect();
        let mut readers: Vec<Vec<Reader>> =
            lanes.iter().map(|lane| lane.iter().map(|_| Reader::default()).collect()).collect();
        let names: Vec<Vec<(String, Kind)>> = lanes
            .iter()
            .map(|lane| lane.iter().map(|step| (step.name.clone(), step.kind)).collect())
            .collect();
        let jobs =
            lanes.into_iter().zip(&names).zip(&mut readers).map(|((lane, names), readers)| {
                let steps = lane.into_iter().zip(names).zip(readers);
                let jobs = steps.map(|((step, (name, kind)), reader)| {
                    let on_line = watched(name, *kind, reader);
                    Job { command: step.command, on_line, patient: step.patient }
                });
                jobs.collect()
            });
        let finished = process::run_lanes(jobs.collect(), limit, |lane, at| {
            println!("{}", begins[lane][at]);
        });
        let ended = names.into_iter().zip(finished).zip(readers);
        ended
            .map(|((names, finished), readers)| {
                // Where the limit has ended all, what follows in the lane has not begun.
                let none = || Err(io::Error::other("what ran beside it took too long"));
                let finished = finished.into_iter().chain(std::iter::repeat_with(none));
                names
                    .into_iter()
                    .zip(finished)
                    .zip(readers)
                    .map(|(((name, kind), finished), reader)| {
                        println!("\n== {name}");
                        self.finish(name, kind, finished, reader)
                    })
                    .collect()
            })
            .collect()
    }

    fn finish(
        &mut self,
        name: String,
        kind: Kind,
        finished: io::Result<Finished>,
        reader: Reader,
    ) -> bool {
        let (problem, took) = match finished {
            Ok(finished) => {
                let took = Took { elapsed: finished.elapsed, processor: finished.processor };
                (judge(kind, &finished, &reader), took)
            }
            Err(error) => (format!("could not be started: {error}"), Took::default()),
        };
        self.enter(name, kind, took, reader, problem)
    }

    /// Records a check that ran inside xtask; `problem` is empty when all is well.
    pub(crate) fn check(
        &mut self,
        name: impl Into<String>,
        check: impl FnOnce() -> String,
    ) -> bool {
        let name = name.into();
        println!("\n== {name}");
        let begun = Instant::now();
        let problem = check();
        let took = Took { elapsed: begun.elapsed(), ..Took::default() };
        if !problem.is_empty() {
            println!("{problem}");
        }
        let short = problem.lines().next().unwrap_or_default().to_owned();
        self.enter(name, Kind::Check, took, Reader::default(), short)
    }

    /// Records that something could not be done at all: counted as a failure.
    pub(crate) fn fail(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        let name = name.into();
        println!("\n== {name}");
        self.enter(name, Kind::Chore, Took::default(), Reader::default(), problem.into());
    }

    /// Something the reader of the summary should know, such as what was left out and why.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("\n-- {note}");
        self.notes.push(note);
    }

    fn enter(
        &mut self,
        name: String,
        kind: Kind,
        took: Took,
        reader: Reader,
        problem: String,
    ) -> bool {
        let Reader { mut counts, failures } = reader;
        let good = problem.is_empty();
        match kind {
            Kind::Check if good => counts.passed += 1,
            // A step that failed for another reason than a failed test is itself the failure.
            _ if !good && counts.failed == 0 => counts.failed += 1,
            _ => {}
        }
        match good {
            true => println!("   ok, {:.1} s", took.elapsed.as_secs_f64()),
            false => println!("   FAILED, {:.1} s: {problem}", took.elapsed.as_secs_f64()),
        }
        self.done.push(Done { name, took, counts, problem, failures });
        good
    }

    /// Prints the summary; `true` if every step succeeded.
    pub(crate) fn close(self) -> bool {
        let width = self.done.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        println!(
            "\n== summary, {:.0} s in all; each step's time on the clock and of the processors",
            self.begun.elapsed().as_secs_f64()
        );
        for Done { name, took, counts, problem, .. } in &self.done {
            let word = if problem.is_empty() { "ok    " } else { "FAILED" };
            let tests = if counts.ran() > 1 { counts.to_string() } else { String::new() };
            let line = format!("   {word} {name:<width$} {took}  {tests}");
            println!("{}", line.trim_end());
        }
        for note in &self.notes {
            println!("   note   {note}");
        }
        for step in self.done.iter().filter(|step| !step.problem.is_empty()) {
            println!("   {}: {}", step.name, step.problem);
            step.failures.iter().for_each(|failure| println!("      {failure}"));
        }
        self.done.iter().all(|step| step.problem.is_empty())
    }

    /// [`close`](Self::close), and below it the line `N passed, N failed` over all steps.
    pub(crate) fn close_with_counts(self) -> bool {
        let mut total = Counts::default();
        self.done.iter().for_each(|step| total += step.counts);
        let good = self.close();
        println!("\n{total}");
        good && total.ran() > 0
    }
}

/// Why a finished step counts as failed, on one line that says all by itself; empty if it does not.
fn judge(kind: Kind, finished: &Finished, reader: &Reader) -> String {
    /// So many of the tests that failed are named; all of them are in the summary.
    const NAMED: usize = 5;
    let Reader { counts, failures } = reader;
    let mut reasons = Vec::new();
    // pytest's word for a selection that left nothing.
    let nothing = kind == Kind::PerhapsTests && finished.ending == Ending::Code(5);
    if counts.failed > 0 {
        let named = &failures[..failures.len().min(NAMED)];
        let names =
            if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        reasons.push(format!("{} failed{names}", counts.failed));
    }
    let reported = counts.failed > 0 && finished.exited();
    if finished.ending != Ending::Code(0) && !reported && !nothing {
        reasons.push(finished.ending.to_string());
    }
    if reasons.is_empty() && kind == Kind::Tests && counts.ran() == 0 {
        reasons.push("no test ran".into());
    }
    if kind.is_tests() && !finished.leftovers.is_empty() {
        reasons.push(format!("left processes behind: {}", finished.leftovers.join("; ")));
    }
    reasons.join("; ")
}

/// What becomes of a line of a step's output.
fn watched<'a>(name: &'a str, kind: Kind, reader: &'a mut Reader) -> impl FnMut(&[u8]) + Send + 'a {
    move |line| {
        if kind.is_tests() {
            reader.line(&String::from_utf8_lossy(line));
        }
        process::print(&[name.as_bytes(), b" | ", line].concat());
    }
}

/// A command as one could type it, with what is set in its environment.
fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        let value = value?.display().to_string();
        // The runner is xtask itself: of no interest to who repeats the command by hand.
        let name = name.display().to_string();
        (!name.ends_with("_RUNNER")).then(|| format!("{name}={}", quoted(&value)))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quoted(&word.display().to_string()));
    let root = format!("{}/", crate::workspace::root().display());
    set.chain(words).collect::<Vec<_>>().join(" ").replace(&root, "")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(ending: Ending) -> Finished {
        let none = Duration::ZERO;
        Finished { ending, leftovers: Vec::new(), elapsed: none, processor: none }
    }

    #[test]
    fn a_suite_that_ran_nothing_has_failed() {
        let none = Reader::default();
        assert_eq!(judge(Kind::Tests, &finished(Ending::Code(0)), &none), "no test ran");
        assert_eq!(judge(Kind::PerhapsTests, &finished(Ending::Code(0)), &none), "");
        assert_eq!(judge(Kind::Check, &finished(Ending::Code(0)), &none), "");
        assert_eq!(judge(Kind::PerhapsTests, &finished(Ending::Code(5)), &none), "");
        assert_eq!(judge(Kind::Tests, &finished(Ending::Code(5)), &none), "exit code 5");
    }

    #[test]
    fn a_step_that_leaves_a_process_has_failed() {
        let read = |passed, failed, failures| Reader {
            counts: Counts { passed, failed, ..Counts::default() },
            failures,
        };
        let one = read(1, 0, Vec::new());
        let leftovers = vec!["12 sleep 100".to_owned()];
        let left = Finished { leftovers, ..finished(Ending::Code(0)) };
        assert!(judge(Kind::Tests, &left, &one).contains("12 sleep 100"));
        let failed = read(1, 2, vec!["a".into(), "b".into()]);
        let problem = judge(Kind::Tests, &Finished { ending: Ending::Code(1), ..left }, &failed);
        assert_eq!(problem, "2 failed (a, b); left processes behind: 12 sleep 100");
    }

    #[test]
    fn how_a_step_ended_is_said() {
        let none = Reader::default();
        let limit = Duration::from_secs(5);
        assert_eq!(judge(Kind::Check, &finished(Ending::Code(3)), &none), "exit code 3");
        assert!(judge(Kind::Tests, &finished(Ending::TimeLimit(limit)), &none).contains("5s"));
    }

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("cargo");
        command.args(["run", "a b", "it's"]).env("X", "1");
        assert_eq!(shown(&command), r"X=1 cargo run 'a b' 'it'\''s'");
    }
}
