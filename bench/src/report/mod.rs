//! What becomes of what was measured: a file with every figure, and the tables and plots that the book shows.

mod plot;
pub(crate) mod table;

use crate::harness::machine::{self, Machine};
use crate::harness::stats::Spread;
use crate::harness::{Goal, Measured, Unit};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// One figure, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) what: String,
    /// `ns`, `bytes` or nothing.
    pub(crate) unit: String,
    pub(crate) goal: Option<Kept>,
    pub(crate) sides: Vec<KeptSide>,
    /// The best of the others: its place in `sides`.
    pub(crate) best: Option<usize>,
    /// Ours against the goal, in what the goal is in.
    pub(crate) compared: Spread,
    pub(crate) reached: Option<bool>,
    /// The day.
    pub(crate) measured: String,
    /// The machine's load when it began.
    pub(crate) load: f64,
}

/// A goal: what is compared, and the most it may be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) kind: Kind,
    pub(crate) most: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Ours over the best of the others.
    Ratio,
    /// Ours less the other.
    Above,
    /// Ours.
    AtMost,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptSide {
    pub(crate) name: String,
    pub(crate) figures: Spread,
}

impl Row {
    pub(crate) fn new(measured: &Measured, load: f64) -> Row {
        let goal = match measured.metric.goal {
            Goal::Ratio(most) => Some(Kept { kind: Kind::Ratio, most }),
            Goal::Above(most) => Some(Kept { kind: Kind::Above, most }),
            Goal::AtMost(most) => Some(Kept { kind: Kind::AtMost, most }),
            Goal::None => None,
        };
        let side = |(name, figures): &(&str, Spread)| KeptSide {
            name: (*name).to_owned(),
            figures: *figures,
        };
        Row {
            name: measured.name.clone(),
            what: measured.what.clone(),
            unit: match measured.metric.unit {
                Unit::Nanos => "ns",
                Unit::Bytes => "bytes",
                Unit::Count => "",
            }
            .to_owned(),
            goal,
            sides: measured.sides.iter().map(side).collect(),
            best: measured.best,
            compared: measured.compared,
            reached: measured.reached(),
            measured: machine::today(),
            load,
        }
    }

    /// The first word of its name.
    pub(crate) fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or(&self.name)
    }
}

/// The result file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

impl Results {
    /// What the file knows, if it is there and speaks of this machine; nothing otherwise.
    pub(crate) fn load(file: Option<&Path>) -> Result<Results, Failure> {
        let machine = machine::describe();
        let nothing = Results { machine, rows: Vec::new() };
        let Some(file) = file.filter(|file| file.exists()) else { return Ok(nothing) };
        let text = fs::read_to_string(file).map_err(|error| Failure::at(file, error))?;
        let known: Results =
            serde_json::from_str(&text).map_err(|error| Failure::at(file, error))?;
        let same = known.machine.processor == nothing.machine.processor
            && known.machine.processors == nothing.machine.processors;
        if !same {
            eprintln!(
                "quell-bench: {} was measured on another machine ({}, {}): its rows are left out",
                file.display(),
                known.machine.processor,
                known.machine.processors
            );
            return Ok(nothing);
        }
        Ok(Results { rows: known.rows, ..nothing })
    }

    /// Takes the place of the row of that name.
    pub(crate) fn enter(&mut self, row: Row) {
        match self.rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
    }

    pub(crate) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.rows.retain(|row| wanted(&row.name));
    }

    /// In the order of the benches they come from.
    pub(crate) fn order(&mut self, benches: &[String]) {
        let place =
            |row: &Row| benches.iter().position(|bench| row.name.starts_with(bench.as_str()));
        self.rows.sort_by_key(place);
    }

    pub(crate) fn save(&self, file: &Path) -> Result<(), Failure> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| Failure::at(file, error))?;
        text.push('\n');
        write(file, &text)
    }
}

/// Brings the chapter's tables and plots up to date.
pub(crate) fn book(results: &Results, folder: &Path) -> Result<(), Failure> {
    let chapter = folder.join("performance.md");
    let text = fs::read_to_string(&chapter).map_err(|error| Failure::at(&chapter, error))?;
    let (before, after) = table::around(&text)
        .ok_or_else(|| Failure::at(&chapter, "the marks around the generated part are missing"))?;
    for (name, drawing) in plot::all(results) {
        write(&folder.join("performance").join(format!("{name}.svg")), &drawing)?;
    }
    write(&chapter, &format!("{before}{}{after}", table::chapter(results)))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| Failure::at(file, error))
}

/// What went wrong, and with what.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: impl fmt::Display, more: impl fmt::Display) -> Failure {
        Failure(format!("{what}\n{more}"))
    }

    fn at(file: &Path, error: impl fmt::Display) -> Failure {
        Failure(format!("{}: {error}", file.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
