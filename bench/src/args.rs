//! What may be typed.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: quell-bench [--rows TEXT] [--quick] [--results FILE] [--book FOLDER]

  --rows TEXT       only rows with TEXT in their name; given again: with all of them
  --quick           a first impression, in seconds
  --results FILE    read what FILE knows, replace the rows that were measured, write it again
  --book FOLDER     draw the table and the plots of the book whose sources are in FOLDER from the results";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) rows: Vec<String>,
    pub(crate) quick: bool,
    pub(crate) results: Option<PathBuf>,
    pub(crate) book: Option<PathBuf>,
}

/// The error is one sentence.
pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--rows" => arguments.rows.push(value()?),
            "--quick" => arguments.quick = true,
            "--results" => arguments.results = Some(value()?.into()),
            "--book" => arguments.book = Some(value()?.into()),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if arguments.quick && (arguments.results.is_some() || arguments.book.is_some()) {
        return Err("--quick is a first impression, not a result to keep".to_owned());
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn words(line: &str) -> Result<super::Arguments, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_and_mistakes() {
        let arguments = words("--rows lock --rows long --results a.json").unwrap();
        assert_eq!(arguments.rows, ["lock", "long"]);
        assert_eq!(arguments.results, Some("a.json".into()));
        assert_eq!(words("--rows").unwrap_err(), "--rows needs a value");
        assert!(words("--fast").unwrap_err().contains("--fast"));
        assert!(words("--quick --results a.json").unwrap_err().contains("first impression"));
    }
}
