//! The report after a limit: what was reached, where the script was, how it took the interrupt, what remained.

use std::time::Duration;

use super::args::{Plan, ReportForm};
use super::facts::{ChildFacts, Ended, Facts, Outside, Place, State, ThreadFacts};
use super::json::{Object, array};
use super::limits::Reached;
use super::place::{Seen, traceback};
use super::session::Session;
use super::units::show_duration;
use super::{end::LIMIT_STATUS, output};
use crate::look::text::Sources;

/// A reader of standard error that takes nothing for so long gets no report.
const PATIENCE: Duration = Duration::from_millis(100);

/// Writes the report in the form and to the place that the user asked for. Forks of the script leave it to their parent.
pub(super) fn write(session: &Session, facts: &Facts) {
    if !session.is_fork {
        write_as(&session.plan, facts);
    }
}

/// The same for the watchdog, which has no session.
pub(super) fn write_as(plan: &Plan, facts: &Facts) {
    if plan.quiet && plan.report_file.is_none() {
        return;
    }
    let text = match plan.report {
        ReportForm::Human => human(facts, plan.grace),
        ReportForm::Json => json(facts) + "\n",
    };
    match &plan.report_file {
        None => output::to_stderr(text.as_bytes(), PATIENCE),
        Some(path) => {
            if let Err(error) = std::fs::write(path, &text) {
                let path = path.display();
                let text = format!("quell: cannot write the report to {path}: {error}\n{text}");
                output::to_stderr(text.as_bytes(), PATIENCE);
            }
        }
    }
}

/// The tracebacks of all Python threads, the main thread first.
pub(super) fn write_tracebacks(session: &Session, seen: &[Seen]) {
    let mut text = String::new();
    if session.is_fork {
        text.push_str(&format!("quell: process {}, a fork of the script:\n", session.pid));
    }
    // The names are known if the interpreter could be asked; whoever holds them would give them back at once.
    let known = session.facts().threads.clone();
    let mut sources = Sources::default();
    for thread in seen {
        let title = if thread.is_main(session.pid) {
            "MainThread".to_owned()
        } else {
            known
                .iter()
                .find(|k| k.ident == thread.ident)
                .map_or_else(|| format!("thread {}", thread.native_id), title)
        };
        text.push_str(&traceback(&title, thread, &mut sources));
    }
    output::to_stderr(text.as_bytes(), PATIENCE);
}

fn title(thread: &ThreadFacts) -> String {
    thread.name.clone().unwrap_or_else(|| format!("thread {:#x}", thread.ident))
}

fn at(place: &Place) -> String {
    if place.file.is_empty() {
        return "in no Python code".to_owned();
    }
    let at = format!("at {} ({}:{})", place.function, near(&place.file), place.line);
    match &place.called_from {
        Some(f) => format!("{at}, called from {} ({}:{})", f.function, near(&f.file), f.line),
        None => at,
    }
}

/// A path as a reader in this directory would write it.
fn near(file: &str) -> &str {
    let Ok(here) = std::env::current_dir() else { return file };
    here.to_str()
        .and_then(|here| file.strip_prefix(here)?.strip_prefix('/'))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(file)
}

fn doing(state: State) -> String {
    match state {
        State::Running => "running Python code".to_owned(),
        State::Blocked(what) => format!("blocked in {what}"),
        State::Native => "in native code".to_owned(),
        State::Ended => "after the script had ended".to_owned(),
    }
}

fn millis(d: Duration) -> String {
    let ms = d.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// The lines for people.
fn human(facts: &Facts, grace: Duration) -> String {
    let mut lines = Vec::new();
    let reached = facts.reached.map(|r| r.to_string()).unwrap_or_default();
    if let Some(outside) = &facts.outside {
        return lines_of(&seen_from_outside(facts, outside, &reached, grace));
    }
    match facts.strikes {
        0 => lines.push(format!("{reached}; nothing was raised in MainThread")),
        _ => lines.push(format!("{reached}; raised {} in MainThread", facts.exception)),
    }
    match &facts.main {
        Some(place) => lines.push(format!("  {}, {}", at(place), doing(place.state))),
        None => lines.push("  the interpreter ran no Python code".to_owned()),
    }
    let times = match facts.strikes {
        0 | 1 => String::new(),
        n => format!(", interrupted {n} times"),
    };
    let unwinding = facts.unwinding.unwrap_or_default();
    match (facts.delivery, facts.ended) {
        (Some(delivery), Ended::Unwound) => lines.push(format!(
            "  delivered after {}; the script ended {} later{times}",
            millis(delivery),
            millis(unwinding.saturating_sub(delivery))
        )),
        (Some(delivery), _) => lines.push(format!(
            "  delivered after {}; the script had not ended after the grace of {}{times}",
            millis(delivery),
            show_duration(grace)
        )),
        (None, Ended::Unwound) if facts.threads.iter().any(|t| t.strikes > 0) => {
            lines.push(format!("  everything had ended after {}", millis(unwinding)));
        }
        (None, Ended::Unwound) => {
            lines.push(format!("  the script ended by itself after {}", millis(unwinding)));
        }
        (None, _) => {
            lines.push(format!("  not delivered within the grace of {}", show_duration(grace)));
        }
    }
    for thread in &facts.threads {
        let place = match &thread.place {
            Some(place) => format!("{}, {}", at(place), doing(place.state)),
            None => "in no Python code".to_owned(),
        };
        let kind = if thread.daemon == Some(true) { " (daemon)" } else { "" };
        let outcome = match (thread.in_call, thread.outcome().strip_prefix("interrupted")) {
            (true, Some(rest)) => format!("interrupted in that call{rest}"),
            _ => thread.outcome().to_owned(),
        };
        lines.push(format!("  thread {}{kind} was {place}: {outcome}", title(thread)));
    }
    lines.extend(facts.children.iter().map(child));
    lines.extend(facts.notes.iter().map(|note| format!("  {note}")));
    match facts.ended {
        Ended::Unwound => lines.push("  nothing remained".to_owned()),
        Ended::Killed | Ended::Terminated => lines.push("  the process was ended".to_owned()),
    }
    lines_of(&lines)
}

fn lines_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("quell: {line}\n")).collect()
}

fn child(child: &ChildFacts) -> String {
    let how = match (child.killed, child.asked) {
        (true, _) => "killed",
        (false, true) => "ended by SIGTERM",
        (false, false) => "ended by itself",
    };
    format!("  child {} ({}): {how}", child.pid, child.name)
}

/// What the watchdog tells people.
fn seen_from_outside(
    facts: &Facts,
    outside: &Outside,
    reached: &str,
    grace: Duration,
) -> Vec<String> {
    let after = millis(facts.unwinding.unwrap_or_default());
    let grace = show_duration(grace);
    let (what, how) = match (outside, facts.ended) {
        (Outside::Replaced(program), Ended::Killed) => (
            format!("the script had replaced itself by {program}"),
            format!(
                "asked to end (SIGTERM), it had not after the grace of {grace}, and was killed"
            ),
        ),
        (Outside::Replaced(program), _) => (
            format!("the script had replaced itself by {program}"),
            format!("asked to end (SIGTERM), it did after {after}"),
        ),
        (Outside::Stopped, _) => (
            "the script had stopped itself".to_owned(),
            format!("continued, it had not ended after the grace of {grace}, and was killed"),
        ),
    };
    let mut lines = vec![format!("{reached}; {what}"), format!("  {how}")];
    lines.extend(facts.children.iter().map(child));
    lines.extend(facts.notes.iter().map(|note| format!("  {note}")));
    lines
}

fn place_fields(object: &mut Object, place: Option<&Place>) {
    let known = place.filter(|p| !p.file.is_empty());
    object.text_or_null("function", known.map(|p| p.function.as_str()));
    object.text_or_null("file", known.map(|p| p.file.as_str()));
    object.number_or_null("line", known.map(|p| f64::from(p.line)));
    object.text_or_null("state", place.map(|p| p.state.word()));
    object.text_or_null(
        "blocked_in",
        place.and_then(|p| match p.state {
            State::Blocked(what) => Some(what),
            _ => None,
        }),
    );
}

/// The same as one JSON object on one line.
fn json(facts: &Facts) -> String {
    let mut report = Object::new();
    report.number("version", 1.0);
    report.raw("limit", &facts.reached.map_or_else(|| "null".to_owned(), limit));
    match facts.outside {
        None => report.text("exception", &facts.exception),
        Some(_) => report.text_or_null("exception", None),
    }
    let mut main = Object::new();
    place_fields(&mut main, facts.main.as_ref());
    report.raw("main", &main.end());
    report.number_or_null("delivery_ms", facts.delivery.map(|d| d.as_secs_f64() * 1e3));
    report.boolean("delivered", facts.delivery.is_some());
    report.number("interrupts", f64::from(facts.strikes));
    let threads = facts.threads.iter().map(|thread| {
        let mut object = Object::new();
        object.text_or_null("name", thread.name.as_deref());
        object.raw("ident", &thread.ident.to_string());
        object.boolean_or_null("daemon", thread.daemon);
        place_fields(&mut object, thread.place.as_ref());
        object.text("outcome", thread.outcome());
        object.boolean("in_call", thread.in_call);
        object.end()
    });
    report.raw("threads", &array(threads));
    let children = facts.children.iter().map(|child| {
        let mut object = Object::new();
        object.number("pid", f64::from(child.pid));
        object.text("name", &child.name);
        object.boolean("killed", child.killed || child.asked);
        object.end()
    });
    report.raw("children", &array(children));
    report.raw("notes", &array(facts.notes.iter().map(|note| super::json::text(note))));
    if let Some(Outside::Replaced(program)) = &facts.outside {
        report.text("replaced_by", program);
    }
    report.text(
        "ended",
        match facts.ended {
            Ended::Unwound => "unwound",
            Ended::Killed => "killed",
            Ended::Terminated => "terminated",
        },
    );
    let status = match facts.outside {
        None => Some(LIMIT_STATUS),
        // Its status is told to others, and to the watchdog if it held it.
        Some(_) => facts.status,
    };
    report.number_or_null("exit_code", status.map(f64::from));
    report.number("elapsed", facts.elapsed.as_secs_f64());
    report.end()
}

fn limit(reached: Reached) -> String {
    let mut object = Object::new();
    object.text("kind", reached.kind().word());
    match reached {
        Reached::Time { limit, used } | Reached::Cpu { limit, used } => {
            object.number("limit", limit.as_secs_f64());
            object.number("used", used.as_secs_f64());
        }
        Reached::Memory { limit, used } => {
            object.raw("limit", &limit.to_string());
            object.raw("used", &used.to_string());
        }
    }
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            reached: Some(Reached::Time {
                limit: Duration::from_secs(2),
                used: Duration::from_micros(2_000_400),
            }),
            exception: "quell.TimeLimit".to_owned(),
            main: Some(Place {
                function: "spin".to_owned(),
                file: "/there/\"odd\".py".to_owned(),
                line: 14,
                state: State::Blocked("read"),
                called_from: None,
            }),
            delivery: Some(Duration::from_micros(200)),
            strikes: 1,
            unwinding: Some(Duration::from_micros(1_500)),
            elapsed: Duration::from_millis(2_003),
            ..Facts::default()
        }
    }

    #[test]
    fn one_line_for_each_fact() {
        assert_eq!(
            human(&facts(), Duration::from_secs(1)),
            "quell: time limit of 2s reached after 2.000s; raised quell.TimeLimit in MainThread\n\
             quell:   at spin (/there/\"odd\".py:14), blocked in read\n\
             quell:   delivered after 0.2 ms; the script ended 1.3 ms later\n\
             quell:   nothing remained\n"
        );
    }

    #[test]
    fn json_is_one_line_and_names_the_same() {
        assert_eq!(
            json(&facts()),
            "{\"version\":1,\"limit\":{\"kind\":\"time\",\"limit\":2.0,\"used\":2.0004},\
             \"exception\":\"quell.TimeLimit\",\"main\":{\"function\":\"spin\",\
             \"file\":\"/there/\\\"odd\\\".py\",\"line\":14,\"state\":\"blocked\",\"blocked_in\":\"read\"},\
             \"delivery_ms\":0.2,\"delivered\":true,\"interrupts\":1,\"threads\":[],\"children\":[],\
             \"notes\":[],\"ended\":\"unwound\",\"exit_code\":124,\"elapsed\":2.003}"
        );
    }
}
