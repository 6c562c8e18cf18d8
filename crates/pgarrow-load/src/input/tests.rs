mod shared;

use std::fs::{self, File};
use std::path::PathBuf;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::DataType;
use tempfile::TempDir;

use super::*;

/// Rows from `start`, with metadata in the schema.
fn batch(start: i64, n_rows: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + n_rows));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        (start..start + n_rows).map(|row| (row % 7 != 0).then(|| format!("text {row}"))),
    ));
    let colours: DictionaryArray<Int32Type> =
        (start..start + n_rows).map(|row| ["red", "green", "blue"][row as usize % 3]).collect();
    let metadata = [("pg.type".to_owned(), "bigint".to_owned())].into();
    let schema = Schema::new_with_metadata(
        vec![
            Field::new("id", ids.data_type().clone(), false).with_metadata(metadata),
            Field::new("text", texts.data_type().clone(), true),
            Field::new("colour", colours.data_type().clone(), true),
        ],
        [("pg.table".to_owned(), "public.t".to_owned())].into(),
    );
    RecordBatch::try_new(Arc::new(schema), vec![ids, texts, Arc::new(colours)]).unwrap()
}

fn parquet_bytes(batches: &[RecordBatch], group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_compression(Compression::ZSTD(Default::default()))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    bytes
}

fn ipc_options(compression: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(compression).unwrap()
}

fn file_bytes(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn stream_bytes(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn rows(input: Input) -> Vec<RecordBatch> {
    input.map(|batch| batch.unwrap()).collect()
}

/// All batches as one.
fn whole(input: Input) -> RecordBatch {
    let schema = Arc::clone(input.schema());
    arrow_select::concat::concat_batches(&schema, &rows(input)).unwrap()
}

/// The error of opening or reading; never a panic.
#[track_caller]
fn refused(paths: &[PathBuf], format: Option<InputFormat>) -> String {
    let error = match Input::open(paths, format) {
        Ok(input) => input.filter_map(Result::err).next().expect("it is read as if nothing were wrong"),
        Err(error) => error,
    };
    assert!(matches!(error.kind(), ErrorKind::Input | ErrorKind::Options), "{error:?}");
    error.to_string()
}

#[test]
fn every_format_gives_the_rows_and_the_metadata() {
    let folder = Folder::new();
    let batches = [batch(0, 20_000), batch(20_000, 5)];
    let [zstd, lz4] = [CompressionType::ZSTD, CompressionType::LZ4_FRAME].map(Some).map(ipc_options);
    let files = [
        folder.write("a.parquet", &parquet_bytes(&batches, 7_000)),
        folder.write("a.arrow", &file_bytes(&batches[..1], ipc_options(None))),
        folder.write("zstd.arrow", &file_bytes(&batches[..1], zstd.clone())),
        folder.write("lz4.feather", &file_bytes(&batches[..1], lz4.clone())),
        folder.write("a.arrows", &stream_bytes(&batches, ipc_options(None))),
        folder.write("zstd.arrows", &stream_bytes(&batches, zstd)),
        folder.write("lz4.arrows", &stream_bytes(&batches, lz4)),
    ];
    let expected = batch(0, 20_005);
    for path in files {
        let input = Input::open(std::slice::from_ref(&path), None).unwrap();
        let schema = Arc::clone(input.schema());
        assert_eq!(schema.metadata()["pg.table"], "public.t", "{path:?}");
        assert_eq!(schema.field(0).metadata()["pg.type"], "bigint", "{path:?}");
        let (known, is_stream) = (input.rows(), path.extension().unwrap() == "arrows");
        let whole = whole(input);
        assert_eq!(known, (!is_stream).then_some(whole.num_rows() as u64), "{path:?}");
        assert_eq!(whole.columns(), expected.slice(0, whole.num_rows()).columns(), "{path:?}");
        assert!(whole.num_rows() >= 20_000, "{path:?}");
    }
}

#[test]
fn dictionaries_that_grow_and_are_replaced() {
    let folder = Folder::new();
    let column = |values: &[&str]| {
        let colours: DictionaryArray<Int32Type> = values.iter().copied().collect();
        RecordBatch::try_from_iter([("c", Arc::new(colours) as ArrayRef)]).unwrap()
    };
    let texts = |batches: &[RecordBatch]| {
        let columns = batches.iter().map(|batch| {
            let dictionary = batch.column(0).as_any().downcast_ref::<DictionaryArray<Int32Type>>().unwrap();
            let values = dictionary.downcast_dict::<StringArray>().unwrap();
            values.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        });
        columns.collect::<Vec<_>>()
    };
    let growing = [column(&["a", "b"]), column(&["a", "b", "c"]), column(&["a", "b", "c", "d"])];
    let delta = || ipc_options(None).with_dictionary_handling(DictionaryHandling::Delta);
    let others = [column(&["a", "b"]), column(&["x", "y", "z"])];
    for (path, batches) in [
        (folder.write("delta.arrows", &stream_bytes(&growing, delta())), &growing[..]),
        (folder.write("delta.arrow", &file_bytes(&growing, delta())), &growing[..]),
        (folder.write("replaced.arrows", &stream_bytes(&others, ipc_options(None))), &others[..]),
    ] {
        let found = rows(Input::open([&path], None).unwrap());
        assert_eq!(texts(&found), texts(batches), "{path:?}");
    }
}

#[test]
fn wide_rows_make_small_batches() {
    let text = "x".repeat(100_000);
    let wide = StringArray::from_iter_values((0..500).map(|row| format!("{row}{text}")));
    let batch = RecordBatch::try_from_iter([("t", Arc::new(wide) as ArrayRef)]).unwrap();
    let folder = Folder::new();
    let path = folder.write("wide.parquet", &parquet_bytes(&[batch], 1_000));
    let batches = rows(Input::open(&[path], None).unwrap());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 500);
    let largest = batches.iter().map(RecordBatch::num_rows).max().unwrap();
    assert!((40..=90).contains(&largest), "{largest} rows of 100 kB in a batch");
}

#[test]
fn several_files_folders_and_their_order() {
    let folder = Folder::new();
    fs::create_dir(folder.0.path().join("parts")).unwrap();
    for (name, start) in [("parts/b.parquet", 10), ("parts/a.parquet", 0), ("last.parquet", 20)] {
        folder.write(name, &parquet_bytes(&[batch(start, 10)], 4));
    }
    folder.write("parts/_SUCCESS", b"");
    folder.write("parts/.hidden.crc", b"crc");
    let paths = [folder.0.path().join("parts/"), folder.0.path().join("last.parquet")];
    let input = Input::open(&paths, None).unwrap();
    assert_eq!((input.rows(), input.name()), (Some(30), "3 files"));
    assert_eq!(whole(input).columns(), batch(0, 30).columns());
    // Files of different formats; only the first bytes of the stream show its format.
    let mixed = [
        folder.0.path().join("parts/a.parquet"),
        folder.write("second", &stream_bytes(&[batch(10, 10)], ipc_options(None))),
    ];
    let input = Input::open(&mixed, None).unwrap();
    assert_eq!(input.rows(), None);
    assert_eq!(whole(input).columns(), batch(0, 20).columns());

    let empty = folder.0.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused(&[empty], None).contains("the folder has no files"));
    assert!(refused(&[folder.0.path().to_owned()], None).contains("a folder in it"));
    assert!(refused(&[], None).contains("nothing to load"));
    assert!(refused(&["-".into(), "-".into()], None).contains("stdin (-) is read once"));
}

#[test]
fn files_of_different_columns_are_refused_before_the_first_batch() {
    let folder = Folder::new();
    let ints = |columns: &[&str], is_null: bool| {
        let value: ArrayRef = Arc::new(Int32Array::from(vec![(!is_null).then_some(1)]));
        let columns = columns.iter().map(|name| (*name, Arc::clone(&value), is_null));
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let write = |name, batch: RecordBatch| folder.write(name, &parquet_bytes(&[batch], 10));
    let first = write("first.parquet", ints(&["a", "b"], false));
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("a", Arc::clone(&longs)), ("b", longs)]).unwrap();
    for (second, says) in [
        (ints(&["a"], false), "column \"b\" is missing here, and there in"),
        (ints(&["a", "b", "c"], false), "column \"c\" is here, and not in"),
        (ints(&["b", "a"], false), "column \"b\" stands where \"a\" does in"),
        (other, "column \"a\" is Int64 here, and Int32 in"),
    ] {
        let second = write("second.parquet", second);
        let error = Input::open([&first, &second], None).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(text.starts_with(&format!("{second:?}: ")) && text.contains(says), "{text}");
        assert!(text.contains("first.parquet"), "{text}");
    }
    // Nullable in one file: nullable in the common schema.
    let nulls = write("nulls.parquet", ints(&["a", "b"], true));
    let input = Input::open([&first, &nulls], None).unwrap();
    assert!(input.schema().fields().iter().all(|field| field.is_nullable()));
    assert_eq!(whole(input).column(0).null_count(), 1);
}

#[test]
fn a_file_that_changes_between_looking_and_reading() {
    let folder = Folder::new();
    let first = folder.write("first.parquet", &parquet_bytes(&[batch(0, 10)], 2));
    let second = folder.write("second.parquet", &parquet_bytes(&[batch(10, 10)], 2));
    let input = Input::open([&first, &second], None).unwrap();
    let other =
        RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    // The reading thread stays in the first file until its batches are taken: it has five, and the queue
    // holds two.
    fs::write(&second, parquet_bytes(&[other], 2)).unwrap();
    let error = input.filter_map(Result::err).next().unwrap();
    assert!(error.to_string().ends_with("second.parquet\": it was changed since the load began"), "{error}");
}

#[test]
fn names_and_contents_that_disagree() {
    let folder = Folder::new();
    let stream = stream_bytes(&[batch(0, 3)], ipc_options(None));
    let path = folder.write("x.parquet", &stream);
    let says =
        "it should be a Parquet file, and is an Arrow IPC stream by its first bytes; give format=ipc-stream";
    assert!(refused(std::slice::from_ref(&path), None).ends_with(says));
    assert_eq!(whole(Input::open([&path], Some(InputFormat::IpcStream)).unwrap()), batch(0, 3));
    let csv = folder.write("x.csv", b"id,text\n1,one\n");
    assert!(refused(std::slice::from_ref(&csv), None).contains("give format=parquet|ipc|ipc-stream"));
    for format in [InputFormat::Parquet, InputFormat::IpcFile, InputFormat::IpcStream] {
        assert!(refused(std::slice::from_ref(&csv), Some(format)).starts_with(&format!("{csv:?}: ")));
    }
    assert!(refused(&[folder.write("empty.parquet", b"")], None).ends_with("the file is empty"));
    assert!(refused(&[folder.0.path().join("no.parquet")], None).ends_with("there is no such file"));
}

#[test]
fn a_stream_without_its_end_and_two_in_one() {
    let folder = Folder::new();
    let stream = stream_bytes(&[batch(0, 3), batch(3, 3)], ipc_options(None));
    // The end mark has eight bytes: all rows are there without it.
    let cut = folder.write("cut.arrows", &stream[..stream.len() - 8]);
    assert!(refused(&[cut], None).contains("ends without its end mark"));
    let twice = folder.write("twice.arrows", &[stream.clone(), stream].concat());
    assert!(refused(&[twice], None).contains("bytes behind the end of the stream"));
}

#[test]
fn every_truncation_is_an_error() {
    let folder = Folder::new();
    let batches = [batch(0, 40)];
    for (name, bytes) in [
        ("x.parquet", parquet_bytes(&batches, 100)),
        ("x.arrow", file_bytes(&batches, ipc_options(Some(CompressionType::ZSTD)))),
        ("x.arrows", stream_bytes(&batches, ipc_options(Some(CompressionType::LZ4_FRAME)))),
    ] {
        for length in 0..bytes.len() {
            let path = folder.write(name, &bytes[..length]);
            let text = refused(&[path], None);
            assert!(text.contains(name), "{length}: {text}");
        }
    }
}

/// A flipped bit gives an error or other values: never an escaping panic, nor gigabytes of memory.
#[test]
fn flipped_bits() {
    let folder = Folder::new();
    let batches = [batch(0, 40)];
    let hook = std::panic::take_hook();
    // Panics of the third-party readers are expected here, and are caught.
    std::panic::set_hook(Box::new(|_| {}));
    let mut n_refused = 0;
    for (name, bytes) in [
        ("x.parquet", parquet_bytes(&batches, 100)),
        ("x.arrow", file_bytes(&batches, ipc_options(None))),
        ("zstd.arrow", file_bytes(&batches, ipc_options(Some(CompressionType::ZSTD)))),
        ("x.arrows", stream_bytes(&batches, ipc_options(Some(CompressionType::LZ4_FRAME)))),
    ] {
        for position in (0..bytes.len()).step_by(3) {
            let mut bytes = bytes.clone();
            bytes[position] ^= 1 << (position % 8);
            let path = folder.write(name, &bytes);
            let errors = match Input::open([&path], None) {
                Ok(input) => input.filter_map(Result::err).collect::<Vec<_>>(),
                Err(error) => vec![error],
            };
            for error in errors {
                assert!(matches!(error.kind(), ErrorKind::Input | ErrorKind::Options), "{error:?}");
                assert!(error.to_string().contains(name), "{error}");
                n_refused += 1;
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(n_refused > 500, "{n_refused}");
}

/// Regression: a file of another writer was refused in the middle of a load, after the first file was
/// already sent.
#[test]
fn lists_whose_elements_have_other_names() {
    let nested = |name: &str| {
        let inner = Field::new_list("l", Field::new(name, DataType::Utf8, true), true);
        let item = Field::new(name, DataType::Struct(vec![inner].into()), true);
        let mut rows = ListBuilder::new(StructBuilder::new(
            match item.data_type() {
                DataType::Struct(fields) => fields.clone(),
                _ => unreachable!(),
            },
            vec![Box::new(ListBuilder::new(StringBuilder::new()).with_field(Field::new(
                name,
                DataType::Utf8,
                true,
            )))],
        ))
        .with_field(item);
        for row in 0..5 {
            let values = rows.values();
            let texts = values.field_builder::<ListBuilder<StringBuilder>>(0).unwrap();
            texts.append_value([Some(format!("text {row}")), None]);
            values.append(true);
            rows.append(row != 3);
        }
        RecordBatch::try_from_iter([("x", Arc::new(rows.finish()) as ArrayRef)]).unwrap()
    };
    let folder = Folder::new();
    let one = folder.write("a.arrow", &file_bytes(&[nested("element")], ipc_options(None)));
    let two = folder.write("b.arrow", &file_bytes(&[nested("item")], ipc_options(None)));
    let both = Input::open([&one, &two], None).unwrap();
    let schema = Arc::clone(both.schema());
    let batches: Vec<RecordBatch> = both.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0], batches[1]);
    assert!(batches.iter().all(|batch| batch.schema() == schema));
    assert_eq!(batches[1], nested("element"));
}

/// Regression: a column that repeats a large text is small in its file. If the writer does not state the
/// decoded size, batches had as many rows as always.
#[test]
fn large_values_that_a_dictionary_hides() {
    const ROWS: usize = 4000;
    const LARGE: usize = 40_000;
    let folder = Folder::new();
    let large = "x".repeat(LARGE);
    let texts = |first_large: usize| {
        let rows = (0..ROWS).map(|row| if row < first_large { "small" } else { large.as_str() });
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows));
        RecordBatch::try_from_iter([("id", ids), ("text", texts)]).unwrap()
    };
    // The most rows of a batch, and of a batch after the first one with large values.
    for (first_large, most_rows, most_large_rows) in [(0, 64, 64), (1500, 1024, 400), (ROWS, 1024, 0)] {
        let stated = folder.write("stated.parquet", &parquet_bytes(&[texts(first_large)], 1 << 20));
        let bytes = without_sizes(&stated);
        assert!(bytes.len() < 100_000);
        let path = folder.write("hidden.parquet", &bytes);
        let (mut row, mut is_large_before) = (0, false);
        for batch in Input::open(&[path], None).unwrap() {
            let batch = batch.unwrap();
            let most_rows = if is_large_before { most_large_rows } else { most_rows };
            assert!(batch.num_rows() <= most_rows, "{} rows at {row}", batch.num_rows());
            let (ids, texts) = (batch["id"].as_primitive::<Int64Type>(), batch["text"].as_string::<i32>());
            for (id, text) in ids.values().iter().zip(texts) {
                let is_large = row >= first_large;
                assert_eq!((*id as usize, text.unwrap().len()), (row, if is_large { LARGE } else { 5 }));
                (row, is_large_before) = (row + 1, is_large);
            }
        }
        assert_eq!(row, ROWS);
    }
}

/// A Parquet file like those of writers that do not state the size of values.
fn without_sizes(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&File::open(path).unwrap()).unwrap();
    let groups = metadata.row_groups().iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let column = column.clone().into_builder().set_unencoded_byte_array_data_bytes(None);
            column.set_column_index_offset(None).set_offset_index_offset(None).build().unwrap()
        });
        group.clone().into_builder().set_column_metadata(columns.collect()).build().unwrap()
    });
    let metadata = ParquetMetaData::new(metadata.file_metadata().clone(), groups.collect());
    let footer_bytes = u32::from_le_bytes(*bytes[..bytes.len() - 4].last_chunk().unwrap()) as usize;
    let mut file = bytes[..bytes.len() - 8 - footer_bytes].to_vec();
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
    file.extend(footer);
    file
}

#[test]
fn restart_keys_of_files() {
    let folder = Folder::new();
    let path = folder.write("a.arrow", &file_bytes(&[batch(0, 4)], ipc_options(None)));
    let key = |paths: &[&Path], target: &str| Input::open(paths, None).unwrap().restart_key(target);
    let first = key(&[&path], "t").unwrap();
    assert_eq!(key(&[&path], "t").unwrap(), first);
    assert_ne!(key(&[&path], "u").unwrap(), first);
    // The same file under another path.
    let around = folder.0.path().join("../").join(folder.0.path().file_name().unwrap()).join("a.arrow");
    assert_eq!(key(&[&around], "t").unwrap(), first);
    assert_eq!(key(&[folder.0.path()], "t").unwrap(), first);
    // The file is written again, with the same name and size.
    let later = File::open(&path).unwrap().metadata().unwrap().modified().unwrap() + Duration::from_micros(1);
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_ne!(key(&[&path], "t").unwrap(), first);
    let (pipe, writer) = pipe(&folder, stream_bytes(&[batch(0, 3)], ipc_options(None)));
    let input = Input::open([&pipe], None).unwrap();
    assert_eq!(input.restart_key("t").unwrap_err().kind(), ErrorKind::Options);
    drop(input);
    writer.join().unwrap();
}

/// What is claimed is not allocated: these claims are of terabytes.
#[test]
fn claims_without_bytes() {
    let folder = Folder::new();
    let compressed = stream_bytes(&[batch(0, 400)], ipc_options(Some(CompressionType::ZSTD)));
    // The length before the first compressed buffer, which begins with zstd's magic number.
    let magic = compressed.windows(4).position(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    let mut bytes = compressed;
    bytes[magic - 8..magic].copy_from_slice(&(1_i64 << 44).to_le_bytes());
    let path = folder.write("claim.arrows", &bytes);
    assert!(refused(&[path], None).contains("larger than it can be"));
    // A length that is possible for zstd, but not for LZ4.
    let compressed = stream_bytes(&[batch(0, 400)], ipc_options(Some(CompressionType::LZ4_FRAME)));
    let magic = compressed.windows(4).position(|bytes| bytes == [0x04, 0x22, 0x4d, 0x18]).unwrap();
    let mut bytes = compressed;
    let claim = 256 * bytes.len() as i64;
    bytes[magic - 8..magic].copy_from_slice(&claim.to_le_bytes());
    let path = folder.write("claim4.arrows", &bytes);
    assert!(refused(&[path], None).contains("larger than it can be"));
    // Metadata of nearly 4 GiB.
    let path = folder.write("metadata.arrows", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 1, 2, 3]);
    assert!(refused(&[path], None).contains("ends without its end mark"));
    // A footer longer than its file.
    let mut bytes = file_bytes(&[batch(0, 4)], ipc_options(None));
    let end = bytes.len();
    bytes[end - 10..end - 6].copy_from_slice(&i32::MAX.to_le_bytes());
    let path = folder.write("footer.arrow", &bytes);
    assert!(refused(&[path], None).contains("may not be complete"));
}

#[test]
fn pipes_bring_streams_only() {
    let folder = Folder::new();
    for (bytes, says) in [
        (
            parquet_bytes(&[batch(0, 3)], 10),
            "a Parquet file is read from its end, which a pipe does not allow",
        ),
        (file_bytes(&[batch(0, 3)], ipc_options(None)), "an Arrow IPC file is read from its end"),
        (Vec::new(), "it is empty"),
    ] {
        let (path, writer) = pipe(&folder, bytes);
        let text = refused(std::slice::from_ref(&path), None);
        assert!(text.contains(says), "{text}");
        writer.join().unwrap();
        fs::remove_file(path).unwrap();
    }
    let (path, writer) = pipe(&folder, stream_bytes(&[batch(0, 3)], ipc_options(None)));
    assert_eq!(whole(Input::open(&[path], None).unwrap()), batch(0, 3));
    writer.join().unwrap();
}

/// A named pipe to which a thread writes these bytes.
fn pipe(folder: &Folder, bytes: Vec<u8>) -> (PathBuf, std::thread::JoinHandle<()>) {
    let path = folder.0.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let to = path.clone();
    let writer = std::thread::spawn(move || {
        // The reader may close the pipe before all bytes are written.
        let _ = std::io::Write::write_all(&mut File::options().write(true).open(to).unwrap(), &bytes);
    });
    (path, writer)
}

#[test]
fn a_cancel_while_a_pipe_is_silent() {
    let folder = Folder::new();
    let stream = stream_bytes(&[batch(0, 3)], ipc_options(None));
    let path = folder.0.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let to = path.clone();
    let writer = std::thread::spawn(move || {
        let mut writer = File::options().write(true).open(to).unwrap();
        std::io::Write::write_all(&mut writer, &stream[..stream.len() - 8]).unwrap();
        writer
    });
    let cancel = Cancel::new();
    let mut input = Input::open(&[path], None).unwrap().with_cancel(cancel.clone());
    assert_eq!(input.next().unwrap().unwrap(), batch(0, 3));
    // The pipe is still open, but silent.
    let _writer = writer.join().unwrap();
    cancel.cancel();
    assert_eq!(input.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(input.next().is_none());
}

/// A file that is elsewhere.
#[derive(Debug)]
struct Elsewhere(&'static str, Vec<u8>);

impl RemoteFile for Elsewhere {
    fn name(&self) -> &str {
        self.0
    }

    fn bytes(&self) -> u64 {
        self.1.len() as u64
    }

    fn version(&self) -> Option<&str> {
        Some("\"one\"").filter(|_| self.0.starts_with("s3://"))
    }

    fn fetch(&self, range: std::ops::Range<u64>) -> RemotePart {
        let bytes = self.1[range.start as usize..range.end as usize].to_vec();
        Box::new(|| Ok(bytes.into()))
    }
}

fn elsewhere(name: &'static str, bytes: &[u8]) -> InputFile {
    InputFile::from(Arc::new(Elsewhere(name, bytes.to_vec())) as Arc<dyn RemoteFile>)
}

#[test]
fn files_that_are_elsewhere_are_read_as_those_that_are_here() {
    let batches = [batch(0, 500), batch(500, 500)];
    let parquet = parquet_bytes(&batches, 100);
    let ipc = file_bytes(&[batch(0, 1000)], ipc_options(None));
    let stream = stream_bytes(&batches, ipc_options(Some(CompressionType::ZSTD)));
    for (name, bytes) in [
        ("s3://b/x.parquet", &parquet),
        ("s3://b/x", &parquet),
        ("https://h/x.arrow", &ipc),
        ("s3://b/x.arrows", &stream),
    ] {
        let input = Input::open([elsewhere(name, bytes)], None).unwrap();
        assert_eq!(input.name(), format!("{name:?}"));
        assert_eq!(input.rows(), (bytes == &parquet).then_some(1000), "{name}");
        let key = input.restart_key("t");
        match name.starts_with("s3://") {
            true => assert!(key.unwrap().starts_with(name)),
            false => assert!(key.unwrap_err().to_string().contains("does not say which version")),
        }
        assert_eq!(whole(input).columns(), batch(0, 1000).columns(), "{name}");
        for cut in [bytes.len() - 1, bytes.len() / 2, 9, 1, 0] {
            let cut = match Input::open([elsewhere(name, &bytes[..cut])], None) {
                Ok(input) => input.collect::<Result<Vec<_>>>().map(drop),
                Err(error) => Err(error),
            };
            assert!(cut.is_err(), "{name}");
        }
    }
    let mixed = [elsewhere("s3://b/x.parquet", &parquet), elsewhere("s3://b/y.arrow", &ipc)];
    assert_eq!(Input::open(mixed, None).unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2000);
    let error = Input::open([elsewhere("s3://b/x.arrow", &parquet)], None).unwrap_err();
    assert!(error.to_string().contains("it should be an Arrow IPC file, and is a Parquet file"), "{error}");
}
