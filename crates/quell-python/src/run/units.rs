//! Durations and sizes as people write them: `2`, `2s`, `1m30s`, `250ms`; `512M`, `1.5GiB`.
//!
//! Both ways: text to figure, with an error that says what is accepted, and figure to the text that
//! messages show. Used by the command line and by the report.

use std::fmt;
use std::time::Duration;

/// Why a text is no duration or no size. It shows the text, and what would have been accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    text: String,
    reason: String,
    accepted: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}: {}", self.text, self.accepted, self.reason)
    }
}

impl std::error::Error for UnitError {}

const A_DURATION: &str = "a duration (such as 2, 2s, 250ms, 1m30s, 1.5h)";
const A_SIZE: &str = "a size in bytes (such as 65536, 512M, 1.5GiB, 200MB)";

/// Longer than anybody waits, and far from every overflow.
const LONGEST: f64 = 100.0 * 365.0 * 86_400.0;

fn seconds_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "us" | "µs" => 1e-6,
        "ms" | "msec" | "millis" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    })
}

/// A single letter is a power of 1024, as in `ulimit`, systemd and container runtimes; `kB`, `MB`, `GB`, `TB`
/// are the powers of 1000 they stand for.
fn bytes_in(unit: &str) -> Option<f64> {
    const K: f64 = 1024.0;
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => K,
        "m" | "mib" => K * K,
        "g" | "gib" => K * K * K,
        "t" | "tib" => K * K * K * K,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return None,
    })
}

/// Splits off a decimal number and the word after it.
fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, rest) = text.split_at(digits);
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Some((number, unit, rest.trim_start()))
}

/// Reads a duration: one number in seconds, or numbers with units, the greater unit first.
///
/// # Errors
/// When the text is anything else, or longer than a hundred years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let fail = |reason: String| UnitError { text: text.to_owned(), reason, accepted: A_DURATION };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(fail("it is empty".into()));
    }
    if rest.starts_with('-') {
        return Err(fail("it is negative".into()));
    }
    let (mut total, mut previous) = (0.0, f64::INFINITY);
    let mut parts = 0;
    while !rest.is_empty() {
        let (number, unit, after) =
            number_and_unit(rest).ok_or_else(|| fail(format!("{rest:?} is not a number")))?;
        parts += 1;
        let scale = match unit {
            "" if parts == 1 && after.is_empty() => 1.0,
            "" => return Err(fail(format!("a unit is missing after {number}"))),
            unit => seconds_in(unit).ok_or_else(|| fail(format!("there is no unit {unit:?}")))?,
        };
        if scale >= previous {
            return Err(fail(format!("{unit:?} stands after a unit that is not greater")));
        }
        previous = scale;
        total += number * scale;
        rest = after;
    }
    if total > LONGEST {
        return Err(fail("it is longer than a hundred years".into()));
    }
    Ok(Duration::from_secs_f64(total))
}

/// Reads a size in bytes.
///
/// # Errors
/// When the text is anything but one number and a unit, or beyond 2^63 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let fail = |reason: String| UnitError { text: text.to_owned(), reason, accepted: A_SIZE };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(fail("it is empty".into()));
    }
    if trimmed.starts_with('-') {
        return Err(fail("it is negative".into()));
    }
    let (number, unit, after) =
        number_and_unit(trimmed).ok_or_else(|| fail("it does not begin with a number".into()))?;
    if !after.is_empty() {
        return Err(fail(format!("{after:?} follows the unit")));
    }
    let scale = bytes_in(unit).ok_or_else(|| fail(format!("there is no unit {unit:?}")))?;
    let bytes = number * scale;
    if bytes >= 9.2e18 {
        return Err(fail("it is too great".into()));
    }
    // In range: checked on the line above, and never negative.
    Ok(bytes.round() as u64)
}

/// A duration as a message shows it: `2s`, `1.5s`, `250ms`, `1m30s`.
#[must_use]
pub fn show_duration(d: Duration) -> String {
    let whole = d.as_secs();
    if whole == 0 && d.subsec_nanos() != 0 {
        return format!("{}ms", trimmed(d.as_secs_f64() * 1e3));
    }
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    let seconds = (whole % 60) as f64 + f64::from(d.subsec_millis()) / 1e3;
    let mut text = String::new();
    for (n, unit) in [(days, "d"), (hours, "h"), (minutes, "m")] {
        if n > 0 {
            text.push_str(&format!("{n}{unit}"));
        }
    }
    if seconds > 0.0 || text.is_empty() {
        text.push_str(&trimmed(seconds));
        text.push('s');
    }
    text
}

/// A size as a message shows it: `512 MiB`, `1.5 GiB`, `900 B`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let mut figure = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if figure < 1024.0 {
            break;
        }
        figure /= 1024.0;
        unit = next;
    }
    let text = if figure >= 100.0 { format!("{figure:.0}") } else { trimmed_to(figure, 1) };
    format!("{text} {unit}")
}

fn trimmed(x: f64) -> String {
    trimmed_to(x, 3)
}

fn trimmed_to(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("2", 2_000),
            ("0", 0),
            ("2s", 2_000),
            ("2.5", 2_500),
            (".5s", 500),
            ("250ms", 250),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            (" 1 min ", 60_000),
            ("1.5h", 5_400_000),
            ("2d1h", 176_400_000),
            ("1s500ms", 1_500),
            ("90 seconds", 90_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_durations_are_errors_that_say_why() {
        for (text, part) in [
            ("", "empty"),
            ("abc", "not a number"),
            ("-1", "negative"),
            ("2x", "no unit \"x\""),
            ("1m30", "unit is missing after 30"),
            ("30s1m", "not greater"),
            ("1s1s", "not greater"),
            ("1.2.3", "not a number"),
            (".", "not a number"),
            ("1e9d", "no unit \"e\""),
            ("99999999d", "hundred years"),
            ("inf", "not a number"),
            ("nan", "not a number"),
        ] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains("1m30s"), "says what is accepted: {error}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("1b", 1),
            ("512M", 512 << 20),
            ("512MiB", 512 << 20),
            ("512 MiB", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("1.5g", 3 << 29),
            ("200MB", 200_000_000),
            ("10kB", 10_000),
            ("10K", 10_240),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_sizes_are_errors_that_say_why() {
        for (text, part) in [
            ("", "empty"),
            ("M", "begin with a number"),
            ("-5M", "negative"),
            ("5X", "no unit \"X\""),
            ("5M5", "follows the unit"),
            ("99999999999T", "too great"),
        ] {
            let error = parse_size(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains("1.5GiB"), "says what is accepted: {error}");
        }
    }

    #[test]
    fn shown_as_they_are_written() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (2_000, "2s"),
            (1_500, "1.5s"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (90_061_000, "1d1h1m1s"),
        ] {
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        for (bytes, text) in
            [(0, "0 B"), (900, "900 B"), (512 << 20, "512 MiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(show_size(bytes), text);
        }
    }
}
