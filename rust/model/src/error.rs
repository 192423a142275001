//! The one error type: what kind, what was expected and found, where, and whether trying again helps.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// `Result` with Frazil's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as it decides what the caller does next. Each kind is one Python exception class
/// and one exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The job document, an argument or a setting is wrong. Trying again does not help.
    Config,
    /// A table, namespace, topic, subject, snapshot or file that was named does not exist.
    NotFound,
    /// What was to be created is there already.
    AlreadyExists,
    /// Credentials were missing, wrong, or not enough.
    Unauthorized,
    /// Another writer committed first. Reload and commit the same files again.
    Conflict,
    /// The catalog may or may not have committed: look the commit's id up, delete nothing before.
    OutcomeUnknown,
    /// The table's ledger has moved past this commit's start: another worker holds these offsets. Stop.
    Fenced,
    /// The table was rolled back behind the ledger's last commit.
    RolledBack,
    /// Offsets that the ledger needs are gone from the source (retention, or the topic was recreated).
    OffsetsLost,
    /// Bytes that are not what their format or schema says.
    Decode,
    /// Rows or columns that do not fit the table, or an expression that does not fit the columns.
    Schema,
    /// More bad records than the job allows.
    TooManyBad,
    /// Kafka or another source failed.
    Source,
    /// The catalog or the schema registry failed.
    Catalog,
    /// Object storage or the local disk failed.
    Storage,
    /// The memory budget cannot hold what the job needs.
    Memory,
    /// The audit found a gap, an overlap or a wrong count.
    Audit,
    /// The caller asked to stop.
    Interrupted,
    /// Valid, but this version does not do it.
    Unsupported,
    /// A bug in Frazil.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the exit codes.
    pub const ALL: [ErrorKind; 20] = [
        ErrorKind::Config,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Unauthorized,
        ErrorKind::Conflict,
        ErrorKind::OutcomeUnknown,
        ErrorKind::Fenced,
        ErrorKind::RolledBack,
        ErrorKind::OffsetsLost,
        ErrorKind::Decode,
        ErrorKind::Schema,
        ErrorKind::TooManyBad,
        ErrorKind::Source,
        ErrorKind::Catalog,
        ErrorKind::Storage,
        ErrorKind::Memory,
        ErrorKind::Audit,
        ErrorKind::Interrupted,
        ErrorKind::Unsupported,
        ErrorKind::Internal,
    ];

    /// The name of the Python exception class.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Config => "ConfigError",
            ErrorKind::NotFound => "NotFoundError",
            ErrorKind::AlreadyExists => "AlreadyExistsError",
            ErrorKind::Unauthorized => "UnauthorizedError",
            ErrorKind::Conflict => "ConflictError",
            ErrorKind::OutcomeUnknown => "OutcomeUnknownError",
            ErrorKind::Fenced => "FencedError",
            ErrorKind::RolledBack => "RolledBackError",
            ErrorKind::OffsetsLost => "OffsetsLostError",
            ErrorKind::Decode => "DecodeError",
            ErrorKind::Schema => "SchemaError",
            ErrorKind::TooManyBad => "TooManyBadError",
            ErrorKind::Source => "SourceError",
            ErrorKind::Catalog => "CatalogError",
            ErrorKind::Storage => "StorageError",
            ErrorKind::Memory => "MemoryLimitError",
            ErrorKind::Audit => "AuditError",
            ErrorKind::Interrupted => "InterruptedError",
            ErrorKind::Unsupported => "UnsupportedError",
            ErrorKind::Internal => "InternalError",
        }
    }

    /// The exit code of the command line: 10 for [`ErrorKind::Config`], then one more for each kind.
    pub fn exit_code(self) -> u8 {
        let position = Self::ALL.iter().position(|kind| *kind == self);
        10 + position.expect("ALL holds every kind") as u8
    }
}

/// An error of Frazil. Its text says what was expected, what was found and what to do; it never holds a secret.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    retryable: bool,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

impl Error {
    /// An error that trying again does not mend.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            retryable: false,
            retry_after: None,
            source: None,
        }))
    }

    /// A wrong setting, its path in the job document in front: `sink.partition_by[0]: unknown transform …`.
    pub fn config(path: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        let (path, message) = (path.as_ref(), message.as_ref());
        if path.is_empty() || path == "." {
            Error::new(ErrorKind::Config, message)
        } else {
            Error::new(ErrorKind::Config, format!("{path}: {message}"))
        }
    }

    /// Says that trying the same again may help.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Says that trying again helps, but not before this long (an HTTP `Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retryable = true;
        self.0.retry_after = Some(wait);
        self
    }

    /// Adds where it happened: `("table", "shop.sales")`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the error underneath. Its text is shown, so it must not hold a secret.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message alone, without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened, in the order in which it was added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Whether trying the same again may help.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long the other side asked to wait before the next try.
    pub fn wait_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            let pairs: Vec<_> = self.0.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
            write!(f, " ({})", pairs.join(", "))?;
        }
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.kind.name())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_message_context_and_causes() {
        let io = std::io::Error::other("disk full");
        let error = Error::new(ErrorKind::Storage, "could not write the file").with("path", "a/b").caused_by(io);
        assert_eq!(error.to_string(), "could not write the file (path=a/b): disk full");
        assert!(!error.is_retryable());
    }

    #[test]
    fn every_kind_has_its_own_exit_code() {
        let codes: std::collections::HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
