//! `pgarrow verify` with files of other machines: of object stores, and of web servers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::thread;

use percent_encoding::percent_decode_str;
use pgarrow_testkit::{Capability, Emulator, require};
use serde_json::Value;

use crate::support::{Place, command, run};
use crate::verifies::{FORMATS, TABLES};

#[test]
fn files_of_an_object_store() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("verify");
    for format in FORMATS {
        let place = Place::new("verify_s3");
        place.database.execute(TABLES);
        place.run_job_of(
            "'shop.orders', 'shop.parts', '\"Odd/..\".*'",
            format,
            "[options]\nfile_size = \"40K\"\n",
        );
        let with_s3 = |args: &[&str]| {
            let mut command = command(place.folder.path());
            command.args(args).envs(moto.environment()).env("TMPDIR", place.folder.path());
            run(&mut command)
        };
        let url = format!("s3://verify/{format}");
        let job =
            fs::read_to_string(place.path("verify.toml")).unwrap().replace("\"lake\"", &format!("{url:?}"));
        fs::write(place.path("verify.toml"), job).unwrap();
        with_s3(&["run", "verify.toml"]).assert_success();
        let names = place.names();
        let ran = with_s3(&["verify", &url, place.database.url(), "--full"]);
        ran.assert_said(0, "3 tables with 6,002 rows are what the server has");
        place.database.execute("DELETE FROM shop.orders WHERE id = 5000");
        let ran = with_s3(&["verify", &url, place.database.url(), "--full"]);
        ran.assert_said(11, "the table may have changed");
        assert!(
            ran.stdout_text().contains("  only in the files: \"shop/orders/part-00"),
            "{}",
            ran.stdout_text()
        );
        // Copies are gone.
        assert_eq!(place.names(), names);
    }
}

/// Serves the files of a folder, whole, until the test ends.
pub(crate) fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut request = String::new();
            stream.read_line(&mut request).unwrap();
            // Headers end with an empty line.
            let mut header = String::new();
            while stream.read_line(&mut header).is_ok_and(|n| n > 2) {
                header.clear();
            }
            let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
            let path = percent_decode_str(path).decode_utf8().unwrap();
            let (status, body) = match fs::read(folder.join(path.as_ref())) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n\
                 Connection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.get_mut().write_all(&[head.as_bytes(), &body].concat());
        }
    });
    port
}

/// A web server lists nothing: the newest manifest is found by its number.
#[test]
fn files_of_a_web_server() {
    require!(Capability::Server);
    let place = Place::new("verify_web");
    place.database.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) AS g");
    for _ in 0..3 {
        place.run_job_of("'t'", "parquet", "");
    }
    place.database.execute("INSERT INTO t VALUES (11)");
    place.run_job_of("'t'", "parquet", "");
    // As `gc` leaves it.
    fs::remove_file(place.path("lake/_pgarrow/manifests/00000001.json")).unwrap();
    let url = format!("http://127.0.0.1:{}/lake", serve(place.folder.path().to_owned()));
    let verify = |args: &[&str]| {
        run(command(place.folder.path()).args(["verify", &url]).args(args).env("AWS_ALLOW_HTTP", "true"))
    };
    verify(&[]).assert_said(0, "1 file with 11 rows");
    verify(&[place.database.url(), "--full"]).assert_said(0, "1 table with 11 rows are what the server has");
    fs::write(place.file_of_newest(), b"").unwrap();
    verify(&[]).assert_said(10, "1 file differs");
    fs::remove_dir_all(place.path("lake")).unwrap();
    verify(&[]).assert_refused(8, &["no run has committed"]);
}

impl Place {
    /// The only file that the newest manifest names.
    fn file_of_newest(&self) -> PathBuf {
        let manifest = self.path("lake/_pgarrow/manifests/00000004.json");
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        self.path("lake").join(manifest["tables"][0]["files"][0]["path"].as_str().unwrap())
    }
}
