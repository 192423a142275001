//! Which database file and which warehouse a catalog's settings mean.

use std::fmt;
use std::path::{Path, PathBuf};

use frazil_model::{Error, ErrorKind, Result};

use crate::storage::local_path;

const DATABASE: &str = "catalog.db";

/// A database and where new tables go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The database's file; none for one in memory.
    pub(super) database: Option<PathBuf>,
    /// As a URL, without a slash at the end.
    pub(super) warehouse: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.database {
            Some(path) if path.file_name().is_some_and(|name| name == DATABASE) => {
                write!(f, "{}", path.parent().unwrap_or(path).display())
            }
            Some(path) => write!(f, "{}", path.display()),
            None => f.write_str("memory:"),
        }
    }
}

impl Place {
    /// Reads `memory:`, `sqlite:///path/catalog.db` or a directory (a path or a `file:` URL).
    pub(super) fn new(catalog: &str, warehouse: Option<&str>) -> Result<Self> {
        let catalog = catalog.trim();
        if matches!(catalog, "memory:" | "memory://") {
            let warehouse = warehouse.map_or_else(|| Ok("memory://lake".to_owned()), warehouse_url)?;
            return Ok(Place { database: None, warehouse });
        }
        if let Some(rest) = catalog.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let path = path.split('?').next().unwrap_or(path);
            if path.trim_matches('/').is_empty() {
                return Err(Error::config(
                    "lake.catalog",
                    format!("expected sqlite:///path/catalog.db, found {catalog:?}"),
                ));
            }
            let database = absolute(path)?;
            let directory = database.parent().unwrap_or(Path::new("/"));
            let warehouse = warehouse.map_or_else(|| file_url(directory), warehouse_url)?;
            return Ok(Place { database: Some(database), warehouse });
        }
        if let Some((scheme, _)) = catalog.split_once("://").filter(|(scheme, _)| *scheme != "file") {
            return Err(Error::config(
                "lake.catalog",
                format!("expected a directory, sqlite:///path/catalog.db or http(s)://…, found '{scheme}://…'"),
            ));
        }
        let directory = absolute(local_path(catalog).unwrap_or(catalog))?;
        let warehouse = warehouse.map_or_else(|| file_url(&directory), warehouse_url)?;
        Ok(Place { database: Some(directory.join(DATABASE)), warehouse })
    }
}

/// Absolute and without `.` or `..`, which object stores refuse; links stay as they are, so that the location written
/// into tables is the one the user knows.
fn absolute(path: &str) -> Result<PathBuf> {
    let full = std::path::absolute(path)
        .map_err(|error| Error::new(ErrorKind::Config, format!("{path:?} is not a usable path")).caused_by(error))?;
    let mut clean = PathBuf::new();
    for part in full.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    Ok(clean)
}

fn file_url(directory: &Path) -> Result<String> {
    let text = directory.to_str().ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            format!("expected a directory whose name is UTF-8, found {}", directory.display()),
        )
    })?;
    Ok(format!("file://{}", text.trim_end_matches('/')))
}

fn warehouse_url(warehouse: &str) -> Result<String> {
    let warehouse = warehouse.trim();
    if warehouse.is_empty() {
        return Err(Error::config("lake.warehouse", "expected a directory or s3://bucket/prefix, found nothing"));
    }
    match local_path(warehouse) {
        Some(path) => file_url(&absolute(path)?),
        None if warehouse.contains("://") => Ok(warehouse.trim_end_matches('/').to_owned()),
        None => file_url(&absolute(warehouse)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(catalog: &str, warehouse: Option<&str>) -> (Option<String>, String) {
        let place = Place::new(catalog, warehouse).unwrap();
        (place.database.map(|path| path.display().to_string()), place.warehouse)
    }

    #[test]
    fn a_directory_holds_database_and_tables() {
        let expected = (Some("/data/lake/catalog.db".to_owned()), "file:///data/lake".to_owned());
        assert_eq!(place("/data/lake", None), expected);
        assert_eq!(place("/data/x/../lake/", None), expected);
        assert_eq!(place("file:///data/lake", None), expected);
        let here = std::env::current_dir().unwrap();
        assert_eq!(place("./lake", None).1, format!("file://{}/lake", here.display()));
    }

    #[test]
    fn database_and_warehouse_may_be_apart() {
        let (database, warehouse) = place("sqlite:///data/cat.db", Some("s3://bucket/wh/"));
        assert_eq!((database.as_deref(), warehouse.as_str()), (Some("/data/cat.db"), "s3://bucket/wh"));
        assert_eq!(place("sqlite:///data/cat.db", None).1, "file:///data");
        assert_eq!(place("/data", Some("/other")).1, "file:///other");
    }

    #[test]
    fn other_databases_are_refused_by_name() {
        let error = Place::new("postgresql://u:secret@h/db", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("postgresql") && !error.message().contains("secret"), "{error}");
    }
}
