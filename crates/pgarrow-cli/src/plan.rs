//! `pgarrow plan`, and `export --dry-run`: prints what would be read.

pub(crate) mod render;

use std::sync::Arc;

use pgarrow::{Cancel, PlanReport, Run, Source};

use crate::connecting::{on_source, say_config_warnings, say_warnings};
use crate::console::Console;
use crate::destination::ending_warning;
use crate::exit::Failure;
use crate::export::defined_by;
use crate::flags::{ExportFlags, FormatName, PlanFlags};
use crate::help;
use crate::into::{Into, IntoMany};
use crate::job::Reading;
use crate::load;
use crate::servers::{OfJob, check_copy};
use crate::signals::{GRACE, Signals};
use crate::table::Lists;
use crate::words;

/// Plans, and prints the plan.
pub(crate) fn plan(flags: &PlanFlags, console: &Console) -> Result<(), Failure> {
    let planned = open(Reading::try_from(flags)?, None, console)?;
    if flags.json {
        return help::print(&json(&planned.reports)?);
    }
    let lists = if flags.all { Lists::Whole } else { Lists::Shortened };
    help::print(planned.text(lists).as_bytes())
}

/// Plans an export and its output, and prints that.
pub(crate) fn dry_run(flags: &ExportFlags, console: &Console) -> Result<(), Failure> {
    let reading = Reading::try_from(flags)?;
    let into = match flags.to {
        Some(FormatName::Postgres) if reading.subject.is_many() => {
            let into = IntoMany::try_from(flags)?;
            say_config_warnings(&into.connection, console);
            let lines = on_source(reading.connection.clone(), console, |source| {
                check_copy(&reading, &OfJob::default(), into, source, console, source.cancel().clone())
            })?;
            return help::print(lines.as_bytes());
        }
        Some(FormatName::Postgres) => Some(Into::try_from(flags)?),
        _ => None,
    };
    ending_warning(flags).iter().for_each(|warning| console.warn(warning));
    let planned = open(reading, into, console)?;
    help::print(planned.text(Lists::Shortened).as_bytes())
}

/// A plan whose transaction has ended.
struct Shown {
    reports: Vec<PlanReport>,
    n_readers: usize,
    /// What the load would do with it.
    load: Option<String>,
}

impl Shown {
    fn text(&self, lists: Lists) -> String {
        let mut text = match self.reports.as_slice() {
            [report] => render::one(report, self.n_readers, lists),
            reports => render::many(reports, self.n_readers, lists),
        };
        if let Some(load) = &self.load {
            text.push('\n');
            text.push_str(load);
        }
        text
    }
}

fn open(reading: Reading, into: Option<Into>, console: &Console) -> Result<Shown, Failure> {
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    // A signal is the reason for whatever fails after it.
    let shown = plan_all(reading, into, console, cancel, &signals);
    shown.map_err(|failure| signals.check().err().unwrap_or(failure))
}

fn plan_all(
    reading: Reading,
    into: Option<Into>,
    console: &Console,
    cancel: Cancel,
    signals: &Signals,
) -> Result<Shown, Failure> {
    say_config_warnings(&reading.connection, console);
    let source = Source::connect_blocking_with(reading.connection, cancel.clone())?;
    signals.be_orderly();
    let defined = into.as_ref().map(|into| (into.takes(), into.schema()));
    let load = into.map(|into| into.load(cancel)).transpose()?;
    let options = match &load {
        Some(load) => reading.options.with_opaque(load.opaque_columns()?),
        None => reading.options,
    };
    let format = reading.format.as_ref().map(|(format, by)| (format, by));
    let mut run = reading.subject.open(&source, options, format)?;
    say_warnings(&run, console);
    let load = match load {
        Some(load) => {
            let load = match defined {
                Some((takes, schema)) => defined_by(load, takes, schema.as_deref(), &mut run)?,
                None => load,
            };
            let plan = run.plan();
            let load = load.with_opaque(plan.opaque().clone()).fed_by(run.holders());
            let loading = load.open(Arc::clone(plan.schema()))?;
            loading.warnings().iter().for_each(|warning| console.warn(warning));
            let text = load::planned(&loading, plan.subject(), None);
            loading.rehearse()?;
            Some(text)
        }
        None => None,
    };
    Ok(Shown { reports: reports_of(&run), n_readers: run.readers(), load })
}

/// What is planned, as `--json` prints it.
pub(crate) fn json_of(run: &Run) -> Result<Vec<u8>, Failure> {
    json(&reports_of(run))
}

fn reports_of(run: &Run) -> Vec<PlanReport> {
    // The snapshot ends here, so the report names none.
    run.plans().iter().map(|plan| words::plan(plan.report(None))).collect()
}

fn json(reports: &[PlanReport]) -> Result<Vec<u8>, Failure> {
    let json = match reports {
        [report] => serde_json::to_vec_pretty(report),
        reports => serde_json::to_vec_pretty(reports),
    };
    let mut json = json.map_err(|error| Failure::output(format!("the plan: {error}")))?;
    json.push(b'\n');
    Ok(json)
}
