//! Whether one revision is slower than another: the change of each total and each phase, against noise and
//! threshold.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::stats::{median, spread};

/// A total counts if it changes by this much.
pub(crate) const TOTAL_THRESHOLD: f64 = 0.05;
/// A phase counts if it changes by this much.
pub(crate) const PHASE_THRESHOLD: f64 = 0.20;
/// A phase counts only if it changes the total by this much: 20 % of almost nothing is nothing.
const PHASE_SHARE_MIN: f64 = 0.01;
/// The name of a run's own time, beside the names of its phases.
pub(crate) const TOTAL: &str = "total";
/// The name of the time of the command from its start to its end: starting, connecting and planning included.
pub(crate) const WHOLE: &str = "whole command";

/// Seconds by name: [`TOTAL`], and the phases that a report has.
pub(crate) type Times = BTreeMap<String, f64>;

/// The change of one total or phase from A to B.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) name: String,
    /// Medians.
    pub(crate) a_seconds: f64,
    pub(crate) b_seconds: f64,
    /// The spreads of both together, in seconds.
    pub(crate) noise_seconds: f64,
    pub(crate) verdict: Verdict,
}

/// The verdict on a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Same,
    Better,
    Worse,
    /// Only one of the revisions has this phase.
    Unknown,
}

impl Change {
    /// B's change relative to A.
    pub(crate) fn ratio(&self) -> f64 {
        self.b_seconds / self.a_seconds - 1.0
    }
}

/// The times of a run's JSON report: `seconds`, and all numbers under `phases`, by their names.
pub(crate) fn times(report: &Value) -> Option<Times> {
    let mut times = Times::new();
    if let Some(phases) = report.get("phases") {
        flatten("", phases, &mut times);
    }
    times.insert(TOTAL.to_owned(), report.get("seconds")?.as_f64()?);
    Some(times)
}

/// Numbers of nested objects, under names joined by dots. Lists, such as one entry for each reader, are left
/// out.
fn flatten(name: &str, value: &Value, times: &mut Times) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, times);
            }
        }
        Value::Number(number) if name != TOTAL => {
            times.extend(number.as_f64().map(|seconds| (name.to_owned(), seconds)));
        }
        _ => {}
    }
}

/// Compares the rounds of two revisions. The total comes first, the whole command next.
pub(crate) fn changes(a: &[Times], b: &[Times]) -> Vec<Change> {
    let of = |rounds: &[Times], name: &str| -> Vec<f64> {
        rounds.iter().filter_map(|times| times.get(name).copied()).collect()
    };
    let mut names: Vec<&String> = a.iter().chain(b).flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    names.sort_by_key(|name| (*name != TOTAL, *name != WHOLE));
    let total_seconds = median(&of(a, TOTAL));
    let changes = names.into_iter().map(|name| {
        let (a, b) = (of(a, name), of(b, name));
        let (a_seconds, b_seconds) = (median(&a), median(&b));
        let noise_seconds = spread(&a) + spread(&b);
        let threshold = match name == TOTAL || name == WHOLE {
            true => TOTAL_THRESHOLD * a_seconds,
            false => (PHASE_THRESHOLD * a_seconds).max(PHASE_SHARE_MIN * total_seconds),
        };
        let change = b_seconds - a_seconds;
        let verdict = match change.abs() > threshold.max(noise_seconds) {
            _ if a.is_empty() || b.is_empty() => Verdict::Unknown,
            false => Verdict::Same,
            true if change > 0.0 => Verdict::Worse,
            true => Verdict::Better,
        };
        Change { name: name.clone(), a_seconds, b_seconds, noise_seconds, verdict }
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Rounds of a run with a phase that takes a tenth of it.
    fn rounds(totals: &[f64], phases: &[f64]) -> Vec<Times> {
        let pairs = totals.iter().zip(phases);
        pairs
            .map(|(total, phase)| Times::from([(TOTAL.to_owned(), *total), ("decode".to_owned(), *phase)]))
            .collect()
    }

    fn verdicts(a: &[Times], b: &[Times]) -> Vec<(String, Verdict)> {
        changes(a, b).into_iter().map(|change| (change.name, change.verdict)).collect()
    }

    fn expect(total: Verdict, phase: Verdict) -> Vec<(String, Verdict)> {
        vec![(TOTAL.to_owned(), total), ("decode".to_owned(), phase)]
    }

    #[test]
    fn worse_and_better_beyond_noise_and_threshold() {
        let a = rounds(&[1.0, 1.01, 0.99], &[0.1, 0.1, 0.1]);
        let b = rounds(&[1.2, 1.21, 1.19], &[0.13, 0.13, 0.13]);
        assert_eq!(verdicts(&a, &b), expect(Verdict::Worse, Verdict::Worse));
        assert_eq!(verdicts(&b, &a), expect(Verdict::Better, Verdict::Better));
        assert_eq!(verdicts(&a, &a), expect(Verdict::Same, Verdict::Same));
        assert!((changes(&a, &b)[0].ratio() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_change_below_the_threshold() {
        let a = rounds(&[1.0; 3], &[0.1; 3]);
        let b = rounds(&[1.04; 3], &[0.119; 3]);
        assert_eq!(verdicts(&a, &b), expect(Verdict::Same, Verdict::Same));
    }

    #[test]
    fn a_change_within_the_noise() {
        let a = rounds(&[1.0, 1.5, 0.9, 1.4, 1.0], &[0.1, 0.3, 0.1, 0.3, 0.1]);
        let b = rounds(&[1.2, 1.2, 1.2, 1.2, 1.2], &[0.2, 0.2, 0.2, 0.2, 0.2]);
        assert_eq!(verdicts(&a, &b), expect(Verdict::Same, Verdict::Same));
    }

    #[test]
    fn a_phase_that_is_next_to_nothing() {
        let a = rounds(&[1.0; 3], &[0.001; 3]);
        let b = rounds(&[1.0; 3], &[0.002; 3]);
        assert_eq!(verdicts(&a, &b), expect(Verdict::Same, Verdict::Same));
    }

    #[test]
    fn a_phase_that_only_one_revision_has() {
        let a = vec![Times::from([(TOTAL.to_owned(), 1.0)])];
        let b = rounds(&[1.0], &[0.5]);
        assert_eq!(verdicts(&a, &b), expect(Verdict::Same, Verdict::Unknown));
    }

    #[test]
    fn reports_with_and_without_phases() {
        let with = json!({"seconds": 2.0, "phases": {"decode": 0.5, "wait": {"server": 1, "sink": 0.25}, "readers": [1]}});
        let expected = [("decode", 0.5), (TOTAL, 2.0), ("wait.server", 1.0), ("wait.sink", 0.25)];
        assert_eq!(times(&with), Some(expected.map(|(name, seconds)| (name.to_owned(), seconds)).into()));
        assert_eq!(times(&json!({"seconds": 2.0})), Some(Times::from([(TOTAL.to_owned(), 2.0)])));
        assert_eq!(times(&json!({"rows": 1})), None);
    }
}
