//! Charts as SVG within the page: what a run did over time, and shares of a whole.

use maud::{Markup, html};

use super::input::Sample;

/// Most steps of a curve.
const STEPS_MAX: usize = 120;
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;

/// A value over time: from each second to the next.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) value: f64,
}

/// The rate of a counter, in steps of the same length. What grew between two samples grew evenly.
pub(super) fn rates(samples: &[Sample], counter: fn(&Sample) -> u64) -> Vec<Step> {
    let end = samples.last().map_or(0.0, |last| last.seconds);
    if end <= 0.0 {
        return Vec::new();
    }
    let n_steps = samples.len().clamp(1, STEPS_MAX);
    let at = |index: usize| end * index as f64 / n_steps as f64;
    let steps = (0..n_steps).map(|index| {
        let (from, to) = (at(index), at(index + 1));
        let grown = count_at(samples, counter, to) - count_at(samples, counter, from);
        // A slice that is read again is taken back first.
        Step { from, to, value: (grown / (to - from)).max(0.0) }
    });
    steps.collect()
}

/// The values themselves: each until the next sample.
pub(super) fn levels(samples: &[Sample], value: fn(&Sample) -> u64) -> Vec<Step> {
    let steps = samples.windows(2).filter_map(|pair| match pair {
        [one, two] => Some(Step { from: one.seconds, to: two.seconds, value: value(one) as f64 }),
        _ => None,
    });
    steps.collect()
}

fn count_at(samples: &[Sample], counter: fn(&Sample) -> u64, seconds: f64) -> f64 {
    let (mut before, mut count) = (0.0, 0.0);
    for sample in samples {
        let (now, counted) = (sample.seconds, counter(sample) as f64);
        if now >= seconds {
            let share = if now > before { (seconds - before) / (now - before) } else { 1.0 };
            return count + (counted - count) * share;
        }
        (before, count) = (now, counted);
    }
    count
}

/// A curve with its largest value, in words, and the end of time.
pub(super) fn curve(title: &str, steps: &[Step], words: impl Fn(u64) -> String) -> Markup {
    let most = steps.iter().map(|step| step.value).fold(0.0, f64::max);
    let end = steps.last().map_or(0.0, |step| step.to);
    if most <= 0.0 || end <= 0.0 {
        return html! {};
    }
    let x = |seconds: f64| seconds / end * WIDTH;
    let y = |value: f64| HEIGHT - value / most * (HEIGHT - 8.0);
    let mut path = format!("M0 {HEIGHT}");
    for step in steps {
        path.push_str(&format!(
            " L{:.1} {:.1} L{:.1} {:.1}",
            x(step.from),
            y(step.value),
            x(step.to),
            y(step.value)
        ));
    }
    path.push_str(&format!(" L{WIDTH} {HEIGHT} Z"));
    let half = y(most / 2.0);
    html! {
        figure {
            figcaption { (title) span.most { "at most " (words(most as u64)) } }
            svg.curve viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" {
                title { (title) ": at most " (words(most as u64)) }
                line.grid x1="0" x2=(WIDTH) y1=(y(most)) y2=(y(most)) {}
                line.grid x1="0" x2=(WIDTH) y1=(half) y2=(half) {}
                path d=(path) {}
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
            }
            div.time { span { "0 s" } span { (crate::units::seconds(end / 2.0)) } span { (crate::units::seconds(end)) } }
        }
    }
}

/// A bar for a part of a whole. `kind` is a class of the style sheet.
pub(super) fn bar(part: f64, whole: f64, kind: &'static str) -> Markup {
    let width = if whole > 0.0 { (part / whole * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    html! {
        svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.rest width="100" height="10" {}
            rect class=(kind) width=(format!("{width:.2}")) height="10" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64, rows: u64) -> Sample {
        Sample { seconds, rows, wire_bytes: 0, memory_bytes: rows }
    }

    #[test]
    fn a_rate_is_what_grew_in_each_step_and_a_pause_is_seen() {
        // Ten rows a second for two seconds, nothing for two.
        let samples = [at(1.0, 10), at(2.0, 20), at(3.0, 20), at(4.0, 20)];
        let values: Vec<f64> = rates(&samples, |sample| sample.rows).iter().map(|step| step.value).collect();
        assert_eq!(values, [10.0, 10.0, 0.0, 0.0]);
        let many: Vec<_> = (1..=256).map(|i| at(f64::from(i), 5 * i as u64)).collect();
        let rates = rates(&many, |sample| sample.rows);
        assert_eq!(rates.len(), STEPS_MAX);
        assert!(rates.iter().all(|step| (step.value - 5.0).abs() < 1e-9));
        let rows: f64 = rates.iter().map(|step| step.value * (step.to - step.from)).sum();
        assert!((rows - 1280.0).abs() < 1e-6, "no row is lost: {rows}");
    }

    #[test]
    fn rows_that_are_taken_back_are_no_negative_rate() {
        let samples = [at(1.0, 10), at(2.0, 0), at(3.0, 10)];
        assert!(rates(&samples, |sample| sample.rows).iter().all(|step| step.value >= 0.0));
        assert_eq!(levels(&samples, |sample| sample.memory_bytes).len(), 2);
        assert!(rates(&[], |sample| sample.rows).is_empty() && levels(&[at(1.0, 1)], |s| s.rows).is_empty());
    }
}
