//! `pgarrow plan`, and `export --dry-run`: what would be read, printed.

pub(crate) mod render;

use pgarrow::{Cancel, PlanReport, Source};

use crate::console::Console;
use crate::exit::Failure;
use crate::export::{GRACE, say_warnings};
use crate::flags::{ExportFlags, PlanFlags};
use crate::job::Reading;
use crate::pages;
use crate::signals::Signals;
use crate::table::Lists;

/// Plans, and prints the plan.
pub(crate) fn plan(flags: &PlanFlags, console: &Console) -> Result<(), Failure> {
    let planned = open(Reading::try_from(flags)?, console)?;
    if flags.json {
        return pages::print(&json(&planned.reports)?);
    }
    let lists = if flags.all { Lists::Whole } else { Lists::Shortened };
    pages::print(planned.text(lists).as_bytes())
}

/// Plans what an export would read, and prints that.
pub(crate) fn dry_run(flags: &ExportFlags, console: &Console) -> Result<(), Failure> {
    let planned = open(Reading::try_from(flags)?, console)?;
    pages::print(planned.text(Lists::Shortened).as_bytes())
}

/// A plan, its transaction ended.
struct Shown {
    reports: Vec<PlanReport>,
    n_readers: usize,
}

impl Shown {
    fn text(&self, lists: Lists) -> String {
        match self.reports.as_slice() {
            [report] => render::one(report, self.n_readers, lists),
            reports => render::many(reports, self.n_readers, lists),
        }
    }
}

fn open(reading: Reading, console: &Console) -> Result<Shown, Failure> {
    let (cancel, asked) = (Cancel::new(), reading.asked);
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    let planned =
        Source::connect_blocking_with(reading.connection, cancel).map_err(Failure::from).and_then(|source| {
            signals.be_orderly();
            reading.subject.open(&source, reading.options)
        });
    let planned = planned.map_err(|failure| signals.check().err().unwrap_or(failure))?;
    say_warnings(&planned, console);
    asked.fewer_readers(planned.readers()).iter().for_each(|warning| console.warn(warning));
    // The snapshot ends here, so none is named.
    let reports = planned.plans().iter().map(|plan| plan.report(None)).collect();
    Ok(Shown { reports, n_readers: planned.readers() })
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
