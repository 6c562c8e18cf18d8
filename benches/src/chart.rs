//! Bars as SVG: medians, with a whisker from the fastest to the slowest round, and a line for the limit.
//!
//! All colours follow the light or dark mode that the reader's screen or page asks for. The background is the
//! chart's own: so it can be read on any page, also on one that is dark or light against that wish.

use std::fmt::Write;

const LABEL_WIDTH: f64 = 200.0;
const BAR_WIDTH: f64 = 470.0;
const VALUE_WIDTH: f64 = 130.0;
const ROW_HEIGHT: f64 = 28.0;
const HEAD_HEIGHT: f64 = 64.0;
const FOOT_HEIGHT: f64 = 34.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .page { fill: #ffffff; stroke: #d1d9e0 }\n\
.title { font-size: 16px; font-weight: 600 }\n\
.small { font-size: 12px; fill: #59636e }\n\
.ours { fill: #2166c4 } .other { fill: #a8b1bb }\n\
.whisker { stroke: #1f2328; stroke-width: 1.5 } .limit { stroke: #c4432b; stroke-width: 1.5; stroke-dasharray: 5 3 }\n\
.limit-text { fill: #c4432b; font-size: 12px }\n\
@media (prefers-color-scheme: dark) {\n\
text { fill: #e6edf3 } .page { fill: #0d1117; stroke: #3d444d } .small { fill: #9aa4af } .ours { fill: #5aa0f2 } .other { fill: #5c6670 }\n\
.whisker { stroke: #e6edf3 } .limit { stroke: #ff8368 } .limit-text { fill: #ff8368 }\n\
}\n";

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Whether to highlight it.
    pub(crate) is_ours: bool,
}

/// A chart; values in seconds, from 0 on.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) bars: Vec<Bar>,
    /// The name of the line, and its place.
    pub(crate) limit: Option<(String, f64)>,
}

impl Chart {
    pub(crate) fn svg(&self) -> Result<String, std::fmt::Error> {
        let highs = self.bars.iter().map(|bar| bar.high).chain(self.limit.iter().map(|(_, value)| *value));
        let scale = BAR_WIDTH / highs.fold(1e-6, f64::max);
        let width = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH;
        let bars_end = HEAD_HEIGHT + ROW_HEIGHT * self.bars.len() as f64;
        let height = bars_end + FOOT_HEIGHT;
        let mut svg = String::new();
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>\n{STYLE}</style>",
            title = escape(&self.title),
        )?;
        writeln!(
            svg,
            "<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
            width - 1.0,
            height - 1.0
        )?;
        writeln!(svg, "<text class=\"title\" x=\"8\" y=\"24\">{}</text>", escape(&self.title))?;
        writeln!(svg, "<text class=\"small\" x=\"8\" y=\"44\">{}</text>", escape(&self.subtitle))?;
        for (index, bar) in self.bars.iter().enumerate() {
            bar.svg(&mut svg, HEAD_HEIGHT + ROW_HEIGHT * index as f64, scale)?;
        }
        if let Some((name, value)) = &self.limit {
            let x = LABEL_WIDTH + value * scale;
            writeln!(
                svg,
                "<line class=\"limit\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
                HEAD_HEIGHT - 6.0,
                bars_end + 4.0
            )?;
            let y = bars_end + 20.0;
            // To the left of the line if there is no room to the right.
            let anchor = if x > LABEL_WIDTH + BAR_WIDTH * 0.7 { "end" } else { "start" };
            let text = format!("{} {}", escape(name), seconds(*value));
            writeln!(
                svg,
                "<text class=\"limit-text\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
            )?;
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }
}

impl Bar {
    fn svg(&self, svg: &mut String, top: f64, scale: f64) -> std::fmt::Result {
        let (text_y, middle) = (top + 18.5, top + 14.0);
        let [median, low, high] = [self.median, self.low, self.high].map(|value| value * scale);
        let class = if self.is_ours { "ours" } else { "other" };
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{text_y:.1}\" text-anchor=\"end\">{}</text>",
            LABEL_WIDTH - 10.0,
            escape(&self.label)
        )?;
        writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LABEL_WIDTH}\" y=\"{:.1}\" width=\"{median:.1}\" height=\"20\" rx=\"2\"/>",
            top + 4.0
        )?;
        let (from, to) = (LABEL_WIDTH + low, LABEL_WIDTH + high);
        writeln!(
            svg,
            "<path class=\"whisker\" fill=\"none\" d=\"M{from:.1} {a:.1}V{b:.1}M{from:.1} {middle:.1}H{to:.1}M{to:.1} {a:.1}V{b:.1}\"/>",
            a = middle - 4.0,
            b = middle + 4.0,
        )?;
        let (x, text) = (to + 8.0, seconds(self.median));
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{text_y:.1}\">{text}</text>")
    }
}

/// With three significant digits.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        ..0.1 => format!("{:.1} ms", value * 1e3),
        ..1.0 => format!("{:.0} ms", value * 1e3),
        ..10.0 => format!("{value:.2} s"),
        _ => format!("{value:.1} s"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, median: f64) -> Bar {
        Bar { label: label.to_owned(), median, low: median * 0.9, high: median * 1.1, is_ours: label == "a" }
    }

    #[test]
    fn bars_are_as_long_as_they_take() {
        let bars = vec![bar("a", 1.0), bar("<b> & c", 2.0)];
        let chart =
            Chart { title: "T".into(), subtitle: String::new(), bars, limit: Some(("drain".into(), 0.5)) };
        let svg = chart.svg().unwrap();
        // The longest whisker ends where the bars' space ends.
        let scale = BAR_WIDTH / 2.2;
        for value in [1.0, 2.0] {
            assert!(svg.contains(&format!("width=\"{:.1}\" height=\"20\"", value * scale)), "{svg}");
        }
        assert!(svg.contains(&format!("x1=\"{:.1}\"", LABEL_WIDTH + 0.5 * scale)));
        assert!(svg.contains("&lt;b&gt; &amp; c") && !svg.contains("<b>"));
        assert_eq!(svg.matches("class=\"ours\"").count(), 1);
        assert_eq!(svg.matches("class=\"page\"").count(), 1);
        for mode in svg.split("@media (prefers-color-scheme: dark)") {
            assert!(mode.contains(".page { fill: #"), "a background of its own in each mode");
        }
    }

    #[test]
    fn a_chart_without_values_has_finite_numbers() {
        let chart =
            Chart { title: String::new(), subtitle: String::new(), bars: vec![bar("a", 0.0)], limit: None };
        let svg = chart.svg().unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn times() {
        assert_eq!(
            [0.0123, 0.9994, 1.0, 9.999, 12.34].map(seconds),
            ["12.3 ms", "999 ms", "1.00 s", "10.00 s", "12.3 s"]
        );
    }
}
