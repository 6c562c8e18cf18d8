//! Any bytes from a server, from the startup on or as the answer to a statement. The client accepts or
//! refuses them, and the result does not depend on how they are cut into writes.
//!
//! ```text
//! input = question (1 byte, modulo 10) bytes of a write (1 byte) what the server sends
//! ```

use pgarrow_protocol::{Config, CopyOutStep, Error, ErrorKind, RowStream, Session};

use super::server::{self, message, read_body, read_message, send};

/// The question whose answer allows the client to send rows.
const COPY_IN: u8 = 6;

pub(crate) fn check(data: &[u8]) {
    let Some(([question, slice_bytes], said)) = data.split_first_chunk::<2>() else { return };
    let question = question % 10;
    let whole = outcome(question, said.len().max(1), said);
    let sliced = outcome(question, usize::from(*slice_bytes).max(1), said);
    // What was read before the connection ended counts, and the kind of the error.
    assert_eq!(whole, sliced, "in writes of {slice_bytes} bytes");
}

/// The client's result: what it read, and why it ended.
fn outcome(question: u8, slice_bytes: usize, said: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let bytes = said.to_vec();
    let play = move |stream: &mut std::os::unix::net::UnixStream| {
        read_body(stream)?;
        if question > 0 {
            // In a transaction, for the question that commits one.
            let status = if question == 9 { b"T" } else { b"I" };
            let welcome =
                [message(b'R', &[0; 4]), message(b'S', b"client_encoding\0UTF8\0"), message(b'Z', status)];
            send(stream, &welcome.concat())?;
            read_message(stream)?;
        }
        // The bytes behind the CopyInResponse are sent after the client's rows. Otherwise timing decides
        // whether the client sees them before or after the end of its rows, and so the result.
        let n_early = if question == COPY_IN { end_of_leave(&bytes) } else { bytes.len() };
        let (early, late) = bytes.split_at(n_early);
        early.chunks(slice_bytes).try_for_each(|slice| send(stream, slice))?;
        if !late.is_empty() {
            read_message(stream)?;
        }
        late.chunks(slice_bytes).try_for_each(|slice| send(stream, slice))
    };
    let mut read = Vec::new();
    let result = server::with(Box::new(play), |config| ask(question, config, &mut read));
    if let Err(error) = &result {
        let shown = format!("{error}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(shown.len() < 128 << 10, "{} bytes of an error", shown.len());
    }
    (read, result.map_err(|error| error.kind()))
}

/// The number of bytes of the CopyInResponse, at least its header; all bytes if the first message is another
/// one.
fn end_of_leave(said: &[u8]) -> usize {
    match said.split_first_chunk::<5>() {
        Some(([b'G', length @ ..], _)) => {
            said.len().min(1 + u32::from_be_bytes(*length).clamp(4, 1 << 20) as usize)
        }
        _ => said.len(),
    }
}

fn ask(question: u8, config: &Config, read: &mut Vec<u8>) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    match question {
        0 => Ok(()),
        1 => session.execute("select 1"),
        2 => {
            let rows = session.query("select 1", &[])?;
            read.extend(format!("{rows:?}").bytes());
            Ok(())
        }
        3 => {
            let description = session.describe("select 1")?;
            read.extend(format!("{description:?}").bytes());
            Ok(())
        }
        4 => drain(&mut session.copy_out("copy t to stdout (format binary)")?, b'd', read),
        5 => drain(&mut session.select_out("select a from t")?, b'D', read),
        COPY_IN => session.copy_in("copy t from stdin").and_then(|copy| copy.finish()).map(|_| ()),
        7 => {
            let mut bulk = session.bulk("insert into t values ($1)", &[23])?;
            for _ in 0..2 {
                bulk.buffer().extend_from_slice(b"\0\0\0\x04\0\0\0\x01");
                bulk.execute()?;
            }
            read.extend(bulk.finish()?.to_be_bytes());
            Ok(())
        }
        8 => {
            read.extend(session.execute_counted("insert into t select 1", &[])?.to_be_bytes());
            Ok(())
        }
        _ => session.commit(),
    }
}

/// Takes every data message whole, as a decoder does.
fn drain(stream: &mut dyn RowStream, tag: u8, read: &mut Vec<u8>) -> Result<(), Error> {
    loop {
        while let Some(([found, length @ ..], rest)) = stream.buffered().split_first_chunk::<5>() {
            let n_bytes = u32::from_be_bytes(*length) as usize;
            let Some(body) = n_bytes.checked_sub(4).and_then(|n_bytes| rest.get(..n_bytes)) else { break };
            if *found != tag {
                break;
            }
            read.extend_from_slice(body);
            stream.consume(n_bytes + 1);
        }
        if let CopyOutStep::Done { rows } = stream.advance()? {
            read.extend(rows.to_be_bytes());
            return Ok(());
        }
    }
}
