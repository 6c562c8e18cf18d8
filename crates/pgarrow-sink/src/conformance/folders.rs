//! Series of files in a folder.

use std::path::Path;

use super::{Make, Read, batch, expected, names, rows, rows_in_order, schema, writer};
use crate::error::SinkErrorKind;
use crate::folder::OutputFolder;
use crate::manifest::MANIFEST;
use crate::outputs::{FolderOptions, Outputs};

pub(super) fn check(make: Make<'_>, read: Read<'_>) {
    files_end_when_they_are_large(make, read);
    each_lane_has_files_of_its_own(make, read);
    without_rows_there_is_one_file(make, read);
    many_sinks_share_a_folder(make, read);
    dropped_without_commit_leaves_nothing(make);
}

fn files_end_when_they_are_large(make: Make<'_>, read: Read<'_>) {
    let parent = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| parent.path().join(name));
    for path in &paths {
        let options = FolderOptions { file_bytes: Some(3000), lanes: 1 };
        let folder = OutputFolder::create(path, false).unwrap();
        let sink = writer(make(Outputs::folder(folder, options), schema()).unwrap());
        for index in 0..10 {
            let mut part = sink.open_part(index).unwrap();
            part.write(&batch(index as i64 * 2000, 2000)).unwrap();
            part.finish().unwrap();
        }
        assert!(!path.exists());
        let written = sink.commit().unwrap();
        assert_eq!(names(parent.path()).iter().filter(|name| name.starts_with('.')).count(), 0);
        assert_eq!(written.rows, 20_000);
        let n_files = written.files.len();
        assert!((2..=10).contains(&n_files), "{n_files}");
        let files: Vec<_> = written.files.iter().map(|file| file.path.clone().unwrap()).collect();
        assert_eq!(data(path), files.iter().map(|file| name_of(file)).collect::<Vec<_>>());
        assert!(name_of(&files[1]).starts_with("part-00001."), "{files:?}");
        for file in &written.files {
            let path = file.path.as_deref().unwrap();
            assert_eq!(file.bytes, path.metadata().unwrap().len());
            assert_eq!(file.rows, rows(read, path).len() as u64);
        }
        let (last, others) = written.files.split_last().unwrap();
        assert!(last.rows > 0 && others.iter().all(|file| (3000..200_000).contains(&file.bytes)));
        let rows: Vec<_> = files.iter().flat_map(|file| rows_in_order(read, file)).collect();
        assert_eq!(rows, expected(0..20_000));
    }
    for name in data(&paths[0]) {
        let [one, two] = paths.each_ref().map(|path| std::fs::read(path.join(&name)).unwrap());
        assert!(one == two, "{name} differs");
    }
}

fn each_lane_has_files_of_its_own(make: Make<'_>, read: Read<'_>) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    let options = FolderOptions { file_bytes: None, lanes: 2 };
    let sink = writer(make(Outputs::folder(folder, options), schema()).unwrap());
    // The second reader is faster; the third shares the lane of the first; the fourth finds nothing.
    for (index, rows) in [(1, 10), (0, 20), (2, 30), (3, 0)] {
        let mut part = sink.open_part(index).unwrap();
        part.write(&batch(index as i64 * 100, rows)).unwrap();
        part.finish().unwrap();
    }
    let written = sink.commit().unwrap();
    let counts: Vec<_> = written.files.iter().map(|file| file.rows).collect();
    assert_eq!((written.rows, counts), (60, vec![10, 50]));
    assert_eq!(rows(read, written.files[0].path.as_deref().unwrap()), expected(100..110));
}

fn without_rows_there_is_one_file(make: Make<'_>, read: Read<'_>) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    let options = FolderOptions { file_bytes: Some(1), lanes: 3 };
    let sink = writer(make(Outputs::folder(folder, options), schema()).unwrap());
    for index in 0..3 {
        sink.open_part(index).unwrap().finish().unwrap();
    }
    let written = sink.commit().unwrap();
    assert_eq!((written.rows, written.files.len()), (0, 1));
    assert_eq!(read(written.files[0].path.as_deref().unwrap()).0, schema());
    assert_eq!(data(&path).len(), 1);
}

fn many_sinks_share_a_folder(make: Make<'_>, read: Read<'_>) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    let in_folder = |name, options| Outputs::in_folder(&folder, name, options).unwrap();
    let cut = FolderOptions { file_bytes: Some(1), lanes: 1 };
    let sinks = [("a.x", FolderOptions::default()), ("b.x", cut)]
        .map(|(name, options)| writer(make(in_folder(name, options), schema()).unwrap()));
    assert_eq!(folder.publish().unwrap_err().kind(), SinkErrorKind::Incomplete, "a file is open");
    let mut files = Vec::new();
    for sink in sinks {
        let mut part = sink.open_part(0).unwrap();
        for start in [0, 10] {
            part.write(&batch(start, 10)).unwrap();
            part.flush().unwrap();
        }
        part.finish().unwrap();
        files.extend(sink.commit().unwrap().files);
        assert!(!path.exists(), "its owner publishes the folder");
    }
    // A table that failed: its file goes, the others stay.
    drop(make(in_folder("c.x", FolderOptions::default()), schema()).unwrap());
    folder.publish().unwrap();
    assert_eq!(data(&path), ["a.x", "b-00000.x", "b-00001.x"]);
    let paths = files.iter().map(|file| file.path.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(paths, data(&path).iter().map(|name| path.join(name)).collect::<Vec<_>>());
    assert_eq!(rows(read, &paths[0]), expected(0..20));
    assert_eq!(rows(read, &paths[2]), expected(10..20));
}

fn dropped_without_commit_leaves_nothing(make: Make<'_>) {
    let parent = tempfile::tempdir().unwrap();
    let folder = OutputFolder::create(parent.path().join("out"), false).unwrap();
    let sink = writer(make(Outputs::folder(folder, FolderOptions::default()), schema()).unwrap());
    let mut part = sink.open_part(0).unwrap();
    part.write(&batch(0, 100)).unwrap();
    part.flush().unwrap();
    assert_eq!(names(parent.path()).len(), 1);
    drop(sink);
    drop(part);
    assert!(names(parent.path()).is_empty());
}

/// The files of a published folder without its manifest, which every folder has.
fn data(folder: &Path) -> Vec<String> {
    let (manifests, data): (Vec<_>, Vec<_>) = names(folder).into_iter().partition(|name| name == MANIFEST);
    assert_eq!(manifests.len(), 1);
    data
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
