//! `pgarrow pages`, and what the other commands print about pages.

use pgarrow_testkit::{Capability, require};

use crate::support::{NUMBERS, Place, Ran, command, eventually, run};

/// A database with the table `t`, and the role `name`, which may read the table and is dropped with this.
struct Pages {
    place: Place,
    name: String,
}

impl Pages {
    fn new(hint: &str) -> Self {
        let place = Place::new(hint);
        let name = format!("role_{}", place.database.name()).chars().take(60).collect();
        let pages = Self { place, name };
        pages.place.database.execute(NUMBERS);
        pages.place.database.execute(&format!(
            "CREATE ROLE \"{0}\" LOGIN; GRANT SELECT ON t TO \"{0}\"; CREATE TABLE words (w tsvector); \
             GRANT SELECT ON words TO \"{0}\"",
            pages.name
        ));
        // Sessions of other databases that are starting count as if they could see the rows.
        eventually("all pages are all-visible", || {
            pages.place.database.execute("VACUUM t");
            let sql = "SELECT relallvisible = relpages FROM pg_class WHERE oid = 't'::regclass";
            pages.place.database.client().query_one(sql, &[]).unwrap().get(0)
        });
        pages
    }

    fn url(&self) -> String {
        let url = self.place.database.url();
        format!("{url}{}user={}", if url.contains('?') { '&' } else { '?' }, self.name)
    }

    /// `pgarrow WORDS URL …` as the role.
    fn run(&self, words: &[&str], args: &[&str]) -> Ran {
        run(command(self.place.folder.path()).args(words).arg(self.url()).args(args))
    }

    /// `pgarrow pages install URL …` as the superuser.
    fn install(&self, args: &[&str]) -> Ran {
        let mut command = command(self.place.folder.path());
        run(command.args(["pages", "install", self.place.database.url()]).args(args))
    }

    fn status(&self) -> serde_json::Value {
        let ran = self.run(&["pages", "status"], &["-t", "t", "--json"]);
        ran.assert_success();
        serde_json::from_slice(&ran.stdout).unwrap()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let sql = format!("DROP OWNED BY \"{0}\"; DROP ROLE \"{0}\"", self.name);
        let _ = self.place.database.client().batch_execute(&sql);
    }
}

macro_rules! require_pages {
    () => {
        require!(
            Capability::PrivateServer,
            Capability::Superuser,
            Capability::Extension("pageinspect"),
            Capability::VersionAtLeast(140_000)
        );
    };
}

#[test]
fn what_would_be_installed_is_printed_without_a_server() {
    let folder = tempfile::TempDir::new().unwrap();
    let pages = |args: &[&str]| run(command(folder.path()).args(["pages", "install"]).args(args));
    let ran = pages(&["postgres://u@127.0.0.1:1/d", "--print", "--to", "a \"b\"", "--to", "c"]);
    ran.assert_success();
    let text = ran.stdout_text();
    for part in [
        "What remains visible, beyond what SELECT shows",
        "--     DROP FUNCTION IF EXISTS pgarrow.heap_pages(oid, int8, int8);",
        "\nBEGIN;",
        "\nGRANT EXECUTE ON FUNCTION pgarrow.heap_pages(oid, int8, int8) TO \"a \"\"b\"\"\";\n",
        "\nGRANT USAGE ON SCHEMA pgarrow TO \"c\";\n",
        "\nCOMMIT;\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let ran = pages(&["--print", "--remove"]);
    let text = ran.stdout_text();
    assert!(text.starts_with("BEGIN;\n") && text.contains("\nDROP SCHEMA IF EXISTS pgarrow;\n"), "{text}");
    assert_eq!(pages(&["--remove", "--to", "a"]).code, Some(2));
    // Before, it was granted to everybody.
    pages(&["--print", "--to", "public"]).assert_refused(2, &["\"public\" is not the name of a role"]);
    pages(&["postgres://u@127.0.0.1:1/d"]).assert_refused(3, &["cannot connect"]);
}

#[test]
fn from_not_possible_to_installed_and_back() {
    require_pages!();
    let pages = Pages::new("pages_install");
    let by_pages = ["-t", "t", "--to", "none", "--read-mode", "pages"];
    // Not installed: --read-mode pages is an error, and otherwise COPY reads.
    let status = pages.status();
    assert_eq!((&status["status_version"], &status["possible"]), (&1.into(), &false.into()));
    assert!(status["why_not"][0].as_str().unwrap().contains("pgarrow pages install"), "{status}");
    let ran = pages.run(&["export"], &by_pages);
    ran.assert_refused(2, &["pages cannot be read here", "`pgarrow pages status` says what is missing"]);
    let ran = pages.run(&["export"], &["-t", "t", "--to", "none"]);
    ran.assert_success();
    assert!(!ran.stderr.contains("pages"), "{}", ran.stderr);
    let ran = pages.run(&["plan"], &["-t", "t"]);
    assert!(ran.stdout_text().contains("\n  not by pages: "), "{}", ran.stdout_text());
    pages.run(&["pages", "install"], &[]).assert_refused(4, &["only a superuser can install"]);

    // Installed, first for no role, then for this one.
    let ran = pages.install(&[]);
    ran.assert_success();
    assert!(ran.stderr.contains("installed in the database pages_install_"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--to ROLE"), "{}", ran.stderr);
    assert_eq!(pages.status()["possible"], false);
    pages.install(&["--to", "no such role"]).assert_refused(4, &["role \"no such role\" does not exist"]);
    pages.install(&["--to", &pages.name]).assert_success();
    let status = pages.status();
    assert_eq!((&status["possible"], &status["source"]), (&true.into(), &"function".into()));
    assert_eq!(status["tables"][0]["pages"], status["tables"][0]["all_visible"]);
    let ran = pages.run(&["pages", "status"], &["-t", "t", "-t", "words"]);
    let text = ran.stdout_text();
    for part in [
        "pages can be read here, by the installed function\n",
        "\npublic.t: can be read by pages; ",
        " pages, 100 % all-visible\n",
        "\npublic.words: cannot be read by pages\n  ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }

    // By pages, and by COPY where that is necessary.
    let ran = pages.run(&["export"], &by_pages);
    ran.assert_success();
    assert!(
        ran.stderr.contains("\npages: ") && ran.stderr.contains(" as they are stored\n"),
        "{}",
        ran.stderr
    );
    pages.place.database.execute("DELETE FROM t WHERE id = 5000");
    let ran = pages.run(&["export"], &[&by_pages[..], &["--report", "r.json"]].concat());
    ran.assert_success();
    assert!(
        ran.stderr.contains(" as they are stored, ") && ran.stderr.contains("1 not all-visible"),
        "{}",
        ran.stderr
    );
    let report = std::fs::read(pages.place.path("r.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["read_mode"], &report["rows"]), (&"pages".into(), &19_999.into()));
    assert_eq!(report["pages"]["reasons"]["not_all_visible"], 1);
    let ran = pages.run(&["plan"], &["-t", "t", "--read-mode", "pages"]);
    assert!(ran.stdout_text().contains("\n  by pages\n"), "{}", ran.stdout_text());
    let ran = pages.run(&["export"], &["-t", "words", "--to", "none", "--read-mode", "pages"]);
    ran.assert_success();
    assert!(ran.stderr.contains("\nnot by pages: public.words: "), "{}", ran.stderr);
    let ran = pages.run(&["plan"], &["-t", "t", "-t", "words", "--read-mode", "pages"]);
    assert!(ran.stdout_text().starts_with("2 tables, 1 by pages in "), "{}", ran.stdout_text());

    let ran = pages.install(&["--remove"]);
    ran.assert_success();
    assert!(ran.stderr.contains("is removed from the database"), "{}", ran.stderr);
    assert_eq!(pages.status()["possible"], false);
}

/// Before, each had a line of its own, in the status, the plan, the summary and the report.
#[test]
fn a_reason_of_many_partitions_is_said_once() {
    require_pages!();
    let pages = Pages::new("pages_parts");
    pages.install(&["--to", &pages.name]).assert_success();
    pages.place.database.execute(&format!(
        "CREATE TABLE parts (id int, w tsvector) PARTITION BY HASH (id); \
         DO $$ BEGIN FOR i IN 0..5 LOOP \
           EXECUTE format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES WITH (MODULUS 6, REMAINDER %s)', i, i); \
         END LOOP; END $$; \
         INSERT INTO parts SELECT g, to_tsvector('simple', g::text) FROM generate_series(1, 600) AS g; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{}\"",
        pages.name
    ));
    let note = "6 of 6 tables of public.parts: column \"w\" ";
    let status = pages.run(&["pages", "status"], &["-t", "parts"]).stdout_text().to_owned();
    assert_eq!(status.matches("column \"w\"").count(), 1, "{status}");
    assert!(status.contains(&format!("\n  {note}")), "{status}");
    let by_pages = ["-t", "parts", "--read-mode", "pages"];
    let plan = pages.run(&["plan"], &by_pages).stdout_text().to_owned();
    assert!(plan.contains(&format!("\n  not by pages: {note}")), "{plan}");
    assert!(!plan.contains("parts_3: column"), "{plan}");
    let ran = pages.run(&["export"], &[&by_pages[..], &["--to", "none", "--report", "r.json"]].concat());
    assert!(ran.stderr.contains(&format!("\nnot by pages: {note}")), "{}", ran.stderr);
    let report = std::fs::read(pages.place.path("r.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let notes = report["page_notes"].as_array().unwrap();
    assert!(notes.len() == 1 && notes[0].as_str().unwrap().starts_with(note), "{notes:?}");
}
