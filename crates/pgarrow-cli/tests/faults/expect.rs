//! What a fault may do to a run.

/// What a fault may do.
#[derive(Clone, Debug)]
pub(crate) struct Expect {
    /// The right exit codes; if empty, any but 0.
    pub(crate) codes: Vec<i32>,
    /// Texts that the last line of stderr must have.
    pub(crate) says: Vec<String>,
    /// Whether the new output may be in place although the run failed: it was complete before the failure.
    pub(crate) may_be_published: bool,
    /// The process was killed: it could neither print a message nor clean up.
    pub(crate) is_killed: bool,
    /// No message is needed.
    pub(crate) is_silent: bool,
    /// Success or failure, and any rows: wrong data from the network looks like data.
    pub(crate) is_anything: bool,
    /// The process could not clean up.
    pub(crate) leaves_temporaries: bool,
}

impl Expect {
    /// A failure, with one of these exit codes.
    pub(crate) fn failure(codes: &[i32]) -> Self {
        Self {
            codes: codes.to_vec(),
            says: Vec::new(),
            may_be_published: false,
            is_killed: false,
            is_silent: false,
            is_anything: false,
            leaves_temporaries: false,
        }
    }

    /// The run completes.
    pub(crate) fn success() -> Self {
        Self::failure(&[0])
    }

    /// The server's bytes arrive changed: success and failure are both right, a panic is not.
    pub(crate) fn anything() -> Self {
        Self { is_anything: true, ..Self::failure(&[0, 2, 3, 4, 5, 6]) }
    }

    /// The fault may not matter; if it does, the run ends in order, or before it begins.
    pub(crate) fn whatever() -> Self {
        Self { is_silent: true, ..Self::failure(&[0, 1, 2, 3, 7]) }
    }

    /// Killed, at any moment.
    pub(crate) fn killed() -> Self {
        Self { may_be_published: true, is_killed: true, leaves_temporaries: true, ..Self::failure(&[]) }
    }

    /// The last line has this text.
    pub(crate) fn saying(mut self, text: impl Into<String>) -> Self {
        self.says.push(text.into());
        self
    }

    /// The fault may come after the output is complete.
    pub(crate) fn at_the_end(self) -> Self {
        Self { may_be_published: true, ..self }
    }

    /// Another exit code is right as well.
    pub(crate) fn or(mut self, code: i32) -> Self {
        self.codes.push(code);
        self
    }

    /// The next run has to remove what this one leaves.
    pub(crate) fn leaving_temporaries(self) -> Self {
        Self { leaves_temporaries: true, ..self }
    }

    /// No message is needed.
    pub(crate) fn silent(self) -> Self {
        Self { is_silent: true, ..self }
    }
}
