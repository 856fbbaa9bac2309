//! A pipeline: lines are split into words, words are weighed by several threads, weights are collected.
//!
//! Each stage has its own threads and a bounded queue before it, so a slow stage holds up the ones before it and
//! nothing piles up. The second run contains a line that cannot be handled: the whole pipeline ends and says where.
//!
//!     cargo run -p quell --example pipeline

use quell::pool::{Pipeline, PipelineError, Stage};
use quell::{PutError, thread};
use std::collections::BTreeMap;

fn count(text: &str) -> Result<BTreeMap<String, usize>, PipelineError> {
    let split = |line: String| match line.find('\0') {
        Some(at) => Err(format!("a NUL at byte {at} of {line:?}")),
        None => Ok(line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>()),
    };
    let weigh = |words: Vec<String>| {
        let mut counts = BTreeMap::new();
        for word in words {
            // Long work in a stage looks now and then whether it should go on.
            quell::checkpoint()?;
            *counts.entry(word).or_insert(0_usize) += 1;
        }
        Ok::<_, quell::Interrupted>(counts)
    };
    let pipeline = Pipeline::stage(Stage::named("split").backlog(4), split)
        .then(Stage::named("weigh").workers(3).backlog(4), weigh)
        .start()
        .expect("the system starts four threads");
    let total = thread::scope(|s| {
        s.spawn(|| {
            for line in text.lines() {
                match pipeline.put(line.to_owned()) {
                    Ok(()) => {}
                    // It has ended early; `join` says why.
                    Err(PutError::ShutDown(_)) => return,
                    Err(other) => panic!("{other}"),
                }
            }
            pipeline.close();
        });
        let mut total = BTreeMap::new();
        for counts in pipeline.iter() {
            for (word, n) in counts {
                *total.entry(word).or_insert(0) += n;
            }
        }
        total
    });
    for stage in pipeline.stats() {
        println!("  {}: {} passed, {} lost", stage.name, stage.passed, stage.lost);
    }
    pipeline.join().map(|()| total)
}

pub(crate) fn main() {
    let text = "the quick brown fox\njumps over the lazy dog\n".repeat(500);
    println!("a text:");
    let counts = count(&text).unwrap();
    println!("  \"the\" {} times, \"fox\" {} times", counts["the"], counts["fox"]);
    assert_eq!((counts["the"], counts["fox"], counts.len()), (1000, 500, 8));

    println!("with something in it:");
    let error = count(&format!("{text}a \0 line\n{text}")).unwrap_err();
    println!("  {error}");
    assert_eq!(error.to_string(), "stage \"split\" failed: a NUL at byte 2 of \"a \\0 line\"");
}
