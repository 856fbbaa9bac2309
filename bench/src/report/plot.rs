//! The plots: one for each group of rows that have peers. A point for the median of the ratios, a bar from quartile to
//! quartile, a thin line from end to end; the scale is logarithmic, so that twice and half are equally far from 1.

use super::table::groups;
use super::{Kind, Results, Row};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
/// Where the scale begins and ends, left to right.
const LEFT: f64 = 270.0;
const RIGHT: f64 = WIDTH - 90.0;
const LINE: f64 = 24.0;
const TOP: f64 = 34.0;

/// Whether a row is in a plot.
pub(super) fn drawn(row: &Row) -> bool {
    row.goal.as_ref().is_some_and(|goal| goal.kind == Kind::Ratio)
}

/// Each group's name, and its plot.
pub(super) fn all(results: &Results) -> Vec<(&str, String)> {
    groups(results)
        .into_iter()
        .filter_map(|(group, mut rows)| {
            rows.retain(|row| drawn(row));
            (!rows.is_empty()).then(|| (group, plot(&rows)))
        })
        .collect()
}

/// The scale: from the least to the most, in steps of a factor of two, 1 included.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(rows: &[&Row]) -> Scale {
        // Extremes further out than this are drawn at the edge; the table has the quartiles, the file everything.
        let within = |x: f64| x.max(1.0 / 32.0).log2().clamp(-5.0, 5.0);
        let low = rows.iter().map(|row| within(row.compared.least).floor()).fold(-1.0, f64::min);
        let high = rows.iter().map(|row| within(row.compared.most).ceil()).fold(1.0, f64::max);
        Scale { low, high }
    }

    fn x(&self, ratio: f64) -> f64 {
        let at = ratio.max(1e-9).log2().clamp(self.low, self.high);
        LEFT + (at - self.low) / (self.high - self.low) * (RIGHT - LEFT)
    }
}

fn plot(rows: &[&Row]) -> String {
    let scale = Scale::of(rows);
    let bottom = TOP + LINE * rows.len() as f64;
    let height = bottom + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"16\" fill=\"#555\">quell over the best peer; less is better</text>\n"
    );
    let mut put = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    let mut power = scale.low;
    while power <= scale.high {
        let x = scale.x(power.exp2());
        let (colour, label) = match power {
            0.0 => ("#888", "1".to_owned()),
            p if p < 0.0 => ("#ddd", format!("1/{}", (-p).exp2())),
            p => ("#ddd", format!("{}", p.exp2())),
        };
        put(format!("<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{colour}\"/>"));
        let y = bottom + 18.0;
        put(format!(
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>"
        ));
        power += 1.0;
    }
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + LINE * (number as f64 + 0.5);
        let spread = &row.compared;
        let [least, lower, median, upper, most] =
            [spread.least, spread.lower, spread.median, spread.upper, spread.most]
                .map(|ratio| scale.x(ratio));
        let colour = if row.reached == Some(false) { "#c0392b" } else { "#1f77b4" };
        let text = y + 4.0;
        let label = LEFT - 12.0;
        put(format!("<text x=\"{label}\" y=\"{text}\" text-anchor=\"end\">{}</text>", row.name));
        if let Some(goal) = &row.goal {
            let (x, from, to) = (scale.x(goal.most), y - 8.0, y + 8.0);
            put(format!("<path d=\"M{x:.1} {from}V{to}\" stroke=\"#2ca02c\" stroke-width=\"2\"/>"));
        }
        put(format!(
            "<path d=\"M{least:.1} {y}H{most:.1}\" stroke=\"{colour}\" stroke-opacity=\".5\"/>"
        ));
        put(format!(
            "<path d=\"M{lower:.1} {y}H{upper:.1}\" stroke=\"{colour}\" stroke-width=\"5\" stroke-opacity=\".6\"/>"
        ));
        put(format!("<circle cx=\"{median:.1}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>"));
        let (x, ratio) = (RIGHT + 12.0, spread.median);
        put(format!("<text x=\"{x}\" y=\"{text}\" fill=\"{colour}\">{ratio:.2}</text>"));
    }
    let y = height - 2.0;
    let mut key = String::new();
    write!(
        key,
        "<text x=\"{LEFT}\" y=\"{y}\" fill=\"#555\" font-size=\"10\">point: median; bar: quartiles; line: extremes; \
         green: the goal</text>\n</svg>"
    )
    .expect("a string takes it");
    put(key);
    svg
}
