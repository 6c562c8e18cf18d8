//! `--metrics`: what a collector of text files reads, of runs that succeed and of those that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::signals::send;
use crate::support::{ENDLESS, NUMBERS, Place, end_of, run};

/// Samples by metric and labels.
type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// Reads the format strictly, as Prometheus does, and holds the names against its rules.
///
/// Source: <https://prometheus.io/docs/instrumenting/exposition_formats/> and
/// <https://prometheus.io/docs/practices/naming/>.
#[track_caller]
fn samples(path: &Path) -> Samples {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    let (mut samples, mut seen, mut current) = (Samples::new(), BTreeSet::new(), None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(seen.insert(name.to_owned()), "{name} has two groups");
            assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.starts_with("pgarrow_") && name.chars().all(is_name), "{name}");
            // A gauge is no sum of all time, and units are whole words and base units.
            for wrong in ["_total", "_count", "_sum", "_bucket", "milli", "_ms", "_kb", "_mb", "gauge"] {
                assert!(!name.ends_with(wrong) && !name.contains(&format!("{wrong}_")), "{name}");
            }
            current = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(Some(rest), current.as_ref().map(|name| format!("{name} gauge")).as_deref());
        } else {
            let (name, rest) = line.split_once('{').unwrap();
            assert_eq!(Some(name), current.as_deref(), "{line}");
            let (labels, value) = labels(rest);
            let value: f64 = value.strip_prefix(' ').unwrap().parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
        }
    }
    samples
}

/// `a="1",b="2"} …` as labels and the rest.
fn labels(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    loop {
        let (name, rest) = text.split_once("=\"").unwrap();
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    other => panic!("\\{other}"),
                }),
                (_, c) => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        text = &rest[end + 1..];
        match text.strip_prefix(',') {
            Some(rest) => text = rest,
            None => return (labels, text.strip_prefix('}').unwrap()),
        }
    }
}

/// The reader of JSON may be off by the last bit.
fn is_same(value: f64, json: &Value) -> bool {
    json.as_f64().is_some_and(|other| (value - other).abs() < 1e-9)
}

#[track_caller]
fn of(samples: &Samples, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    *samples.get(&(metric.to_owned(), labels)).unwrap_or_else(|| panic!("{metric} is not in {samples:?}"))
}

#[test]
fn numbers_of_every_table_and_after_a_failure_when_it_last_went_well() {
    require!(Capability::Server);
    let place = Place::new("metrics");
    let hostile = "a\"} 1\\\n<script>";
    place
        .database
        .execute(&format!("{NUMBERS}; CREATE TABLE \"{}\" AS SELECT 1 AS a", hostile.replace('"', "\"\"")));
    let args = ["-t", "*", "-o", "out/", "--overwrite", "--metrics", "shop.prom", "--report", "r.json"];
    place.export(&args).assert_success();
    let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    let good = samples(&place.path("shop.prom"));
    let of_run = |samples: &Samples, metric: &str| of(samples, metric, &[("name", "shop")]);
    assert_eq!(of_run(&good, "pgarrow_run_success"), 1.0);
    assert_eq!(of_run(&good, "pgarrow_run_exit_code"), 0.0);
    assert_eq!(of_run(&good, "pgarrow_run_rows"), 20_001.0);
    assert_eq!(of_run(&good, "pgarrow_run_files"), 2.0);
    assert_eq!(Some(of_run(&good, "pgarrow_run_received_bytes")), report["wire_bytes"].as_f64());
    let bytes: u64 =
        report["files"].as_array().unwrap().iter().map(|file| file["bytes"].as_u64().unwrap()).sum();
    assert_eq!(of_run(&good, "pgarrow_run_file_bytes"), bytes as f64);
    let at = of_run(&good, "pgarrow_run_last_success_timestamp_seconds");
    assert_eq!(at, of_run(&good, "pgarrow_run_end_timestamp_seconds"));
    for table in report["tables"].as_array().unwrap() {
        let labels = [("name", "shop"), ("table", table["table"].as_str().unwrap())];
        for (metric, field) in [
            ("rows", "rows"),
            ("received_bytes", "wire_bytes"),
            ("files", "files"),
            ("file_bytes", "file_bytes"),
            ("duration_seconds", "seconds"),
        ] {
            let value = of(&good, &format!("pgarrow_table_{metric}"), &labels);
            assert!(is_same(value, &table[field]), "{metric}: {value} of {table}");
        }
    }
    assert!(good.keys().any(|(_, labels)| labels.iter().any(|(_, value)| value.contains("<script>"))));
    for (phase, seconds) in report["phases"].as_object().unwrap() {
        let value = of(&good, "pgarrow_run_phase_seconds", &[("name", "shop"), ("phase", phase)]);
        assert!(is_same(value, seconds), "{phase}: {value}, not {seconds}");
    }

    // A failure keeps only when a run last succeeded.
    let fail = ["-q", "select 1/0", "--to", "none", "--metrics", "shop.prom"];
    for _ in 0..2 {
        assert_eq!(place.export(&fail).code, Some(4));
        let bad = samples(&place.path("shop.prom"));
        assert_eq!(of_run(&bad, "pgarrow_run_success"), 0.0);
        assert_eq!(of_run(&bad, "pgarrow_run_exit_code"), 4.0);
        assert_eq!(of_run(&bad, "pgarrow_run_last_success_timestamp_seconds"), at);
        assert!(of_run(&bad, "pgarrow_run_end_timestamp_seconds") > at);
        assert!(!bad.keys().any(|(metric, _)| metric == "pgarrow_run_rows"));
    }
    // One table, which a report has at its top.
    place.export(&["t", "--to", "none", "--metrics", "shop.prom"]).assert_success();
    let one = samples(&place.path("shop.prom"));
    assert_eq!(of(&one, "pgarrow_table_rows", &[("name", "shop"), ("table", "public.t")]), 20_000.0);
    assert!(of_run(&one, "pgarrow_run_last_success_timestamp_seconds") > at);
}

#[test]
fn a_job_has_them_too_also_if_its_file_cannot_be_read() {
    require!(Capability::Server);
    let place = Place::new("metrics_job");
    place.database.execute(&format!("{NUMBERS}; ALTER TABLE t ADD wide numeric"));
    let job = format!(
        "[source]\nconnection = \"{}\"\ntables = ['t']\n[destination]\npath = \"lake\"\n",
        place.database.url()
    );
    fs::write(place.path("job.toml"), &job).unwrap();
    let job_run = |args: &[&str]| {
        let mut command = crate::support::command(place.folder.path());
        run(command.args(["run", "job.toml"]).args(args))
    };
    let of_job = |metric: &str| of(&samples(&place.path("m.prom")), metric, &[("name", "m")]);
    job_run(&["--metrics", "m.prom"]).assert_success();
    assert_eq!([of_job("pgarrow_run_success"), of_job("pgarrow_run_rows")], [1.0, 20_000.0]);
    // Warnings about the format, which come while it reads, are in the report too.
    assert_eq!(of_job("pgarrow_run_warnings"), 1.0);
    let at = of_job("pgarrow_run_last_success_timestamp_seconds");
    fs::write(place.path("job.toml"), "[source]\nno = 1\n").unwrap();
    let ran = job_run(&["--metrics", "m.prom", "--report", "r.json"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!([of_job("pgarrow_run_success"), of_job("pgarrow_run_exit_code")], [0.0, 2.0]);
    assert_eq!(of_job("pgarrow_run_last_success_timestamp_seconds"), at);
    let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 2);
    // What must not be replaced.
    fs::write(place.path("job.toml"), &job).unwrap();
    for (args, code, says) in [
        (&["--metrics", "job.toml"][..], 2, "the job file"),
        (&["--metrics", "lake/m.prom"], 2, "in the folder of the job"),
        (&["--metrics", "m.prom", "--report", "./m.prom"], 2, "the same file"),
        (&["--metrics", "r.json"], 7, "has no metrics of pgarrow"),
    ] {
        job_run(args).assert_refused(code, &[says]);
    }
    assert_eq!(fs::read_to_string(place.path("job.toml")).unwrap(), job);
    place
        .export(&["t", "-o", "m.prom", "--to", "ipc", "--metrics", "m.prom"])
        .assert_refused(2, &["the same file"]);
}

#[test]
fn a_run_that_is_stopped_says_so() {
    require!(Capability::Server);
    let place = Place::new("metrics_stopped");
    let child =
        place.start_copy(&["-q", ENDLESS, "--to", "none", "--metrics", "m.prom", "--progress", "json"]);
    send(&child, Signal::SIGTERM);
    let ran = end_of(child, 30);
    assert_eq!(ran.code, Some(143), "{ran:?}");
    let samples = samples(&place.path("m.prom"));
    assert_eq!(of(&samples, "pgarrow_run_exit_code", &[("name", "m")]), 143.0);
    assert!(!samples.keys().any(|(metric, _)| metric.contains("last_success")), "{samples:?}");
    let mut objects = ran.stderr.lines().filter(|line| line.starts_with('{'));
    let last: Value = serde_json::from_str(objects.next_back().unwrap()).unwrap();
    assert_eq!(last["is_last"], true);
    assert_eq!(place.names(), ["m.prom"]);
}
