//! The two tables of the shared schema and every statement on them.

use std::path::Path;
use std::time::Duration;

use frazil_model::{Error, ErrorKind, Result};
use iceberg::{NamespaceIdent, TableIdent};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

/// How long a statement waits for another process's. Longer waits are the caller's to decide.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Opening a database for the first time can collide with others doing the same.
const OPEN_TRIES: u32 = 20;

/// As PyIceberg and Java's `JdbcCatalog` (schema version V1) create them.
pub(super) const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
)";
const CREATE_NAMESPACES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
)";

/// What became of a compare-and-swap.
pub(super) enum Swap {
    Done,
    /// Another metadata file is current.
    Moved(String),
    /// The table is not there any more.
    Gone,
}

pub(super) struct Database {
    pool: SqlitePool,
    catalog: String,
    /// Condition that leaves views out; empty for databases from before the column `iceberg_type` (schema V0).
    only_tables: &'static str,
}

impl Database {
    /// Opens the database and creates what is missing. `path` is none for one in memory.
    pub(super) async fn open(path: Option<&Path>, catalog: &str) -> Result<Self> {
        let Some(path) = path else {
            // Each connection to `:memory:` is a database of its own: there is one, and it is never closed.
            let options = SqliteConnectOptions::new().in_memory(true);
            let pool =
                SqlitePoolOptions::new().min_connections(1).max_connections(1).idle_timeout(None).max_lifetime(None);
            let pool = pool.connect_with(options).await.map_err(|error| failed(error, "open the catalog"))?;
            return Self::prepare(pool, catalog).await.map_err(|error| failed(error, "create the catalog's tables"));
        };
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await.map_err(|error| {
                Error::new(ErrorKind::Storage, format!("the directory {} cannot be created", directory.display()))
                    .caused_by(error)
            })?;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::connect(path, catalog).await {
                Err(error) if is_busy(&error) && tries < OPEN_TRIES => {
                    let wait = rand::random_range(5..=50);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                Err(error) => return Err(failed(error, "open the catalog").with("path", path.display())),
                Ok(database) => return Ok(database),
            }
        }
    }

    async fn connect(path: &Path, catalog: &str) -> sqlx::Result<Self> {
        // No WAL: PyIceberg in the same process has a SQLite library of its own. POSIX locks do not keep two of them in
        // one process apart, so whichever closes its last connection deletes the other's WAL, and commits with it
        // (https://sqlite.org/howtocorrupt.html, 2.2.1). With a rollback journal nothing outlives a transaction.
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .connect_with(options.synchronous(SqliteSynchronous::Full))
            .await?;
        Self::prepare(pool, catalog).await
    }

    async fn prepare(pool: SqlitePool, catalog: &str) -> sqlx::Result<Self> {
        sqlx::query(CREATE_TABLES).execute(&pool).await?;
        sqlx::query(CREATE_NAMESPACES).execute(&pool).await?;
        let columns: Vec<String> =
            sqlx::query_scalar("SELECT name FROM pragma_table_info('iceberg_tables')").fetch_all(&pool).await?;
        let only_tables = match columns.iter().any(|name| name == "iceberg_type") {
            true => " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)",
            false => "",
        };
        Ok(Database { pool, catalog: catalog.to_owned(), only_tables })
    }

    pub(super) async fn metadata_location(&self, ident: &TableIdent) -> Result<Option<String>> {
        let statement = format!(
            "SELECT metadata_location FROM iceberg_tables
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location IS NOT NULL{}",
            self.only_tables
        );
        sqlx::query_scalar(&statement)
            .bind(&self.catalog)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| failed(error, "look up a table").with("table", ident))
    }

    /// Whether the table was new.
    pub(super) async fn insert_table(&self, ident: &TableIdent, location: &str) -> Result<bool> {
        let statement = match self.only_tables {
            "" => "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES (?, ?, ?, ?)",
            _ => {
                "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
                 VALUES (?, ?, ?, ?, 'TABLE')"
            }
        };
        let done = sqlx::query(statement)
            .bind(&self.catalog)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .bind(location)
            .execute(&self.pool)
            .await
            .map_err(|error| uncertain(error, ident))?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn swap(&self, ident: &TableIdent, old: &str, new: &str) -> Result<Swap> {
        let statement = format!(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?{}",
            self.only_tables
        );
        let done = sqlx::query(&statement)
            .bind(new)
            .bind(old)
            .bind(&self.catalog)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .bind(old)
            .execute(&self.pool)
            .await
            .map_err(|error| uncertain(error, ident))?;
        if done.rows_affected() == 1 {
            return Ok(Swap::Done);
        }
        Ok(self.metadata_location(ident).await?.map_or(Swap::Gone, Swap::Moved))
    }

    /// Whether there was such a table.
    pub(super) async fn delete_table(&self, ident: &TableIdent) -> Result<bool> {
        let statement = format!(
            "DELETE FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?{}",
            self.only_tables
        );
        let done = sqlx::query(&statement)
            .bind(&self.catalog)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .execute(&self.pool)
            .await
            .map_err(|error| failed(error, "drop a table").with("table", ident))?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn tables(&self, namespace: &NamespaceIdent) -> Result<Vec<String>> {
        let statement = format!(
            "SELECT table_name FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ?{}",
            self.only_tables
        );
        sqlx::query_scalar(&statement)
            .bind(&self.catalog)
            .bind(namespace.join("."))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| failed(error, "list tables").with("namespace", namespace))
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT table_namespace FROM iceberg_tables WHERE catalog_name = ?
             UNION SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?",
        )
        .bind(&self.catalog)
        .bind(&self.catalog)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| failed(error, "list namespaces"))
    }

    pub(super) async fn namespace_property(&self, namespace: &NamespaceIdent, key: &str) -> Result<Option<String>> {
        sqlx::query_scalar(
            "SELECT property_value FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ? AND property_key = ?",
        )
        .bind(&self.catalog)
        .bind(namespace.join("."))
        .bind(key)
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| failed(error, "read a namespace").with("namespace", namespace))
    }

    /// Namespaces exist by a property of their own, as PyIceberg and Java write it.
    pub(super) async fn insert_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        sqlx::query(
            "INSERT OR IGNORE INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
             VALUES (?, ?, 'exists', 'true')",
        )
        .bind(&self.catalog)
        .bind(namespace.join("."))
        .execute(&self.pool)
        .await
        .map(|_| ())
        .map_err(|error| failed(error, "create a namespace").with("namespace", namespace))
    }
}

/// SQLITE_BUSY (5) and SQLITE_LOCKED (6), in any of their extended forms.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    matches!(code.map(|code| code & 0xff), Some(5 | 6))
}

/// A statement that did not change anything, or that only reads.
fn failed(error: sqlx::Error, action: &str) -> Error {
    if is_busy(&error) {
        let message = format!("could not {action}: another process holds the catalog's database, try again");
        return Error::new(ErrorKind::Catalog, message).retryable();
    }
    let primary = error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<u32>().ok())
        .map(|code| code & 0xff);
    match primary {
        Some(8) => Error::new(ErrorKind::Catalog, format!("could not {action}: the catalog's database is read-only")),
        Some(13) => Error::new(ErrorKind::Storage, format!("could not {action}: the disk is full")),
        Some(14) => Error::new(
            ErrorKind::Catalog,
            format!("could not {action}: the database file cannot be opened, check the path and its rights"),
        ),
        Some(26) => Error::new(ErrorKind::Catalog, format!("could not {action}: the file is not a SQLite database")),
        _ => match error {
            sqlx::Error::PoolTimedOut => Error::new(
                ErrorKind::Catalog,
                format!("could not {action}: no connection to the catalog's database came free"),
            )
            .retryable(),
            other => Error::new(ErrorKind::Catalog, format!("could not {action}")).caused_by(other),
        },
    }
}

/// A statement that decides a commit. Only where SQLite says that it did not start is the outcome known.
fn uncertain(error: sqlx::Error, ident: &TableIdent) -> Error {
    let known = error.as_database_error().is_some() && !is_io(&error)
        || matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed);
    if known {
        return failed(error, "commit").with("table", ident);
    }
    let message = "the catalog's database failed during the commit: it may or may not have been made";
    Error::new(ErrorKind::OutcomeUnknown, message).with("table", ident).caused_by(error)
}

/// SQLITE_IOERR (10): it may have come after the change reached the disk.
fn is_io(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 10)
}
