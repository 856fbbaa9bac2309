//! Just enough JSON to write a report: no reader, no tree.

use std::fmt::Write;

/// An object being written, its fields in the order of the calls.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    /// A field whose value is JSON already.
    pub(super) fn raw(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&text(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &text(value));
    }

    pub(super) fn text_or_null(&mut self, name: &str, value: Option<&str>) {
        self.raw(name, &value.map_or_else(|| "null".to_owned(), text));
    }

    /// A finite number; whole ones keep a fraction only where they are seconds or milliseconds.
    pub(super) fn number(&mut self, name: &str, value: f64) {
        let whole = matches!(name, "version" | "line" | "pid" | "exit_code" | "interrupts");
        self.raw(name, &if whole { format!("{value:.0}") } else { format!("{value:?}") });
    }

    pub(super) fn number_or_null(&mut self, name: &str, value: Option<f64>) {
        match value {
            Some(value) => self.number(name, value),
            None => self.raw(name, "null"),
        }
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    pub(super) fn boolean_or_null(&mut self, name: &str, value: Option<bool>) {
        match value {
            Some(value) => self.boolean(name, value),
            None => self.raw(name, "null"),
        }
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// An array of values that are JSON already.
pub(super) fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

/// A string.
pub(super) fn text(value: &str) -> String {
    let mut json = String::with_capacity(value.len() + 2);
    json.push('"');
    for c in value.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                // Writing to a String does not fail.
                let _ = write!(json, "\\u{:04x}", c as u32);
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(text("a\"b\\c\nd\u{1}é"), "\"a\\\"b\\\\c\\nd\\u0001é\"");
    }

    #[test]
    fn fields_keep_their_order() {
        let mut object = Object::new();
        object.number("version", 1.0);
        object.number("elapsed", 2.0);
        object.number_or_null("line", None);
        object.boolean("b", true);
        object.raw("a", &array(["1".to_owned(), "2".to_owned()].into_iter()));
        assert_eq!(
            object.end(),
            "{\"version\":1,\"elapsed\":2.0,\"line\":null,\"b\":true,\"a\":[1,2]}"
        );
    }
}
