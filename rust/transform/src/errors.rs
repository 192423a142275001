//! DataFusion's errors in Frazil's words. `query` uses the same.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use frazil_model::{Error, ErrorKind};

/// Says what DataFusion says: the kind by its variant, the text without its prefixes, near names for columns.
///
/// An error of Frazil that travelled through DataFusion comes out as it went in.
pub fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0)),
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => from_datafusion(inner),
            Err(shared) => from_shared(&shared),
        },
        DataFusionError::External(inner) => from_external(inner),
        DataFusionError::ArrowError(inner, _) => match *inner {
            ArrowError::ExternalError(inner) => from_external(inner),
            other => Error::new(arrow_kind(&other), arrow_text(&other)),
        },
        DataFusionError::SchemaError(inner, _) => Error::new(ErrorKind::Schema, schema_text(&inner)),
        DataFusionError::SQL(inner, _) => {
            let text = inner.to_string();
            let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
            Error::new(ErrorKind::Config, format!("this is not SQL: {text}"))
        }
        DataFusionError::Plan(text) => Error::new(ErrorKind::Schema, clean(&text)),
        DataFusionError::Configuration(text) => Error::new(ErrorKind::Config, clean(&text)),
        DataFusionError::Execution(text) => Error::new(ErrorKind::Schema, clean(&text)),
        DataFusionError::NotImplemented(text) => Error::new(ErrorKind::Unsupported, clean(&text)),
        DataFusionError::ResourcesExhausted(text) => {
            Error::new(ErrorKind::Memory, format!("the query needs more memory than it may use: {}", clean(&text)))
        }
        DataFusionError::IoError(inner) => Error::new(ErrorKind::Storage, "reading or writing failed").caused_by(inner),
        other => Error::new(ErrorKind::Internal, clean(&other.strip_backtrace())),
    }
}

fn from_external(inner: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let inner = match inner.downcast::<Error>() {
        Ok(own) => return *own,
        Err(inner) => inner,
    };
    match inner.downcast::<DataFusionError>() {
        Ok(inner) => from_datafusion(*inner),
        Err(inner) => Error::new(ErrorKind::Internal, inner.to_string()),
    }
}

/// An error that several readers hold: its words are copied.
fn from_shared(shared: &DataFusionError) -> Error {
    match shared {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_shared(inner),
        DataFusionError::Shared(inner) => from_shared(inner),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => {
                let copy = Error::new(own.kind(), own.to_string());
                if own.is_retryable() { copy.retryable() } else { copy }
            }
            None => Error::new(ErrorKind::Internal, inner.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => Error::new(arrow_kind(inner), arrow_text(inner)),
        DataFusionError::ResourcesExhausted(text) => Error::new(ErrorKind::Memory, clean(text)),
        DataFusionError::Execution(text) | DataFusionError::Plan(text) => Error::new(ErrorKind::Schema, clean(text)),
        other => Error::new(ErrorKind::Internal, clean(&other.strip_backtrace())),
    }
}

fn arrow_kind(error: &ArrowError) -> ErrorKind {
    match error {
        ArrowError::IoError(..) => ErrorKind::Storage,
        ArrowError::MemoryError(_) => ErrorKind::Memory,
        ArrowError::NotYetImplemented(_) => ErrorKind::Unsupported,
        ArrowError::ParquetError(_) | ArrowError::IpcError(_) => ErrorKind::Decode,
        _ => ErrorKind::Schema,
    }
}

fn arrow_text(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(text) | ArrowError::ComputeError(text) | ArrowError::ParseError(text) => clean(text),
        ArrowError::InvalidArgumentError(text) | ArrowError::SchemaError(text) => clean(text),
        ArrowError::ArithmeticOverflow(text) | ArrowError::NotYetImplemented(text) => clean(text),
        ArrowError::DivideByZero => "division by zero".to_owned(),
        other => clean(&other.to_string()),
    }
}

fn schema_text(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            let Some(relation) = &field.relation else { return no_column(&field.name, &names) };
            // `b.price` where b is a table with other columns, or no table at all.
            let own: Vec<&str> = valid_fields
                .iter()
                .filter(|column| column.relation.as_ref().is_some_and(|r| r.resolved_eq(relation)))
                .map(|column| column.name.as_str())
                .collect();
            no_column(&format!("{relation}.{}", field.name), if own.is_empty() { &names } else { &own })
        }
        SchemaError::AmbiguousReference { field } => {
            format!("the column '{}' is in more than one table: write it as table.{}", field.name, field.name)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("two columns have the name '{name}': give one of them another name with 'as'")
        }
    }
}

fn no_column(name: &str, names: &[&str]) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    format!(
        "no column '{name}'{}{}",
        near(last, names),
        if names.is_empty() { String::new() } else { format!(" columns: {}", names.join(", ")) }
    )
}

/// What follows a name that does not exist: `, did you mean 'price'?` if one of these is near enough, else `;`.
pub fn near<S: AsRef<str>>(found: &str, names: &[S]) -> String {
    let folded = found.to_lowercase();
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.as_ref().to_lowercase()), name.as_ref()))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min()
        .map_or_else(|| ";".to_owned(), |(_, name)| format!(", did you mean '{name}'?"))
}

/// One line, without the prefixes that DataFusion stacks up and without its advice to report a bug.
fn clean(text: &str) -> String {
    const PREFIXES: [&str; 6] = [
        "Error during planning: ",
        "Arrow error: ",
        "Cast error: ",
        "Compute error: ",
        "Execution error: ",
        "Schema error: ",
    ];
    let mut text = text.split("\n\nbacktrace").next().unwrap_or(text);
    text = text.split(".\nThis issue was likely caused by").next().unwrap_or(text);
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
