//! The core of quell beside other crates: what the book's chapter on performance is drawn from.
//!
//!     cargo xtask bench core [--rows TEXT] [--quick]
//!
//! or, by hand, `cargo run --release -- --results FILE --book FOLDER` in this folder. Without the two options it
//! prints what it measures and writes nothing.
//!
//! `harness` is how to measure, `rows` what, `report` what becomes of it.

mod args;
mod harness;
mod report;
mod rows;

use args::Arguments;
use harness::{Plan, machine};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match args::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("quell-bench: {problem}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quell-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), report::Failure> {
    let plan = if arguments.quick { Plan::QUICK } else { Plan::FULL };
    machine::prefer();
    // Read before anything is measured: a file that cannot be used should not cost a whole run.
    let mut results = report::Results::load(arguments.results.as_deref())?;
    let wanted = |name: &str| arguments.rows.iter().all(|text| name.contains(text.as_str()));
    let mut benches = rows::all();
    let known: Vec<String> = benches.iter().map(|bench| bench.name.clone()).collect();
    benches.retain(|bench| wanted(&bench.name));
    if benches.is_empty() {
        return Err(report::Failure::new(
            "no row has that in its name; rows are:",
            known.join("\n"),
        ));
    }
    println!("{}", report::table::HEADER);
    for mut bench in benches {
        let load = machine::load();
        for measured in bench.measure(&plan) {
            let row = report::Row::new(&measured, load);
            println!("{}", report::table::line(&row));
            results.enter(row);
        }
    }
    // What no longer exists is not reported either.
    results.keep(|name| known.iter().any(|bench| name.starts_with(bench.as_str())));
    results.order(&known);
    if let Some(file) = &arguments.results {
        results.save(file)?;
    }
    if let Some(folder) = &arguments.book {
        report::book(&results, folder)?;
    }
    Ok(())
}
