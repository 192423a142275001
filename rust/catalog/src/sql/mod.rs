//! The SQLite catalog, in the schema that PyIceberg's `SqlCatalog` and Java's `JdbcCatalog` (V1) share.
//!
//! A commit is one `UPDATE … WHERE metadata_location = <the one it was made from>`: SQLite makes check and change one
//! step, for every process and every engine on the same file.

mod database;
mod place;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use frazil_model::{CatalogSettings, Error, ErrorKind, Result};
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{MetadataLog, TableMetadata, TableMetadataBuilder, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, Runtime, TableCreation, TableIdent, TableRequirement, TableUpdate};

use self::database::{Database, Swap};
use self::place::Place;
use crate::storage::{ObjectStorageFactory, S3Settings, Stores};
use crate::{from_iceberg, metadata_file};

const DELETE_OLD_METADATA: &str = "write.metadata.delete-after-commit.enabled";

/// A catalog in a SQLite database.
pub(crate) struct SqlCatalog {
    database: Database,
    place: Place,
    stores: Arc<Stores>,
    file_io: FileIO,
}

impl SqlCatalog {
    pub(crate) async fn open(settings: &CatalogSettings) -> Result<Self> {
        refuse_rest_settings(settings)?;
        let place = Place::new(&settings.catalog, settings.warehouse.as_deref())?;
        let database = Database::open(place.database.as_deref(), &settings.name).await?;
        let stores = Arc::new(Stores::new(S3Settings::from_model(&settings.storage)?));
        let file_io = FileIOBuilder::new(Arc::new(ObjectStorageFactory::new(stores.clone(), None))).build();
        Ok(SqlCatalog { database, place, stores, file_io })
    }

    pub(crate) fn describe(&self) -> String {
        self.place.to_string()
    }

    pub(crate) async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        let location = self.database.metadata_location(ident).await?;
        let location =
            location.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no table '{ident}'")))?;
        let metadata = TableMetadata::read_from(&self.file_io, &location).await.map_err(|error| {
            let error = from_iceberg(error);
            match error.kind() {
                // The table is there; that its metadata is not is another matter than a wrong name.
                ErrorKind::NotFound => Error::new(
                    ErrorKind::Catalog,
                    format!("the metadata file of table '{ident}' is gone: {}", error.message()),
                ),
                _ => error.with("table", ident),
            }
        })?;
        self.table(ident, location, metadata.into())
    }

    fn table(&self, ident: &TableIdent, location: String, metadata: TableMetadataRef) -> Result<Table> {
        let table = Table::builder()
            .identifier(ident.clone())
            .metadata_location(location)
            .metadata(metadata)
            .file_io(self.file_io.clone())
            .runtime(Runtime::try_current().map_err(from_iceberg)?);
        table.build().map_err(from_iceberg)
    }

    pub(crate) async fn create_table(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let exists = || Error::new(ErrorKind::AlreadyExists, format!("there is a table '{ident}' already"));
        if self.table_exists(&ident).await? {
            return Err(exists());
        }
        self.create_namespace(namespace).await?;
        if creation.location.is_none() {
            let base = match self.database.namespace_property(namespace, "location").await? {
                Some(location) => location.trim_end_matches('/').to_owned(),
                None => format!("{}/{}", self.place.warehouse, namespace.join("/")),
            };
            creation.location = Some(format!("{base}/{}", ident.name()));
        }
        let built = TableMetadataBuilder::from_table_creation(creation).and_then(TableMetadataBuilder::build);
        let metadata = built.map_err(|error| config_error(error, &ident))?.metadata;
        let location = metadata_file::write(&metadata, &self.file_io, None).await?;
        self.stores.flushed().await?;
        match self.database.insert_table(&ident, &location).await {
            Ok(true) => self.table(&ident, location, metadata.into()),
            Ok(false) => {
                self.discard(location).await;
                Err(exists())
            }
            Err(error) => {
                if error.kind() != ErrorKind::OutcomeUnknown {
                    self.discard(location).await;
                }
                Err(error)
            }
        }
    }

    pub(crate) async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        Ok(self.database.metadata_location(ident).await?.is_some())
    }

    /// Namespaces are rows of their own or only the prefix of a table's; parents of nested ones count too.
    pub(crate) async fn list_namespaces(&self) -> Result<Vec<NamespaceIdent>> {
        let mut found = BTreeSet::new();
        for name in self.database.namespaces().await? {
            let parts: Vec<&str> = name.split('.').collect();
            for depth in 1..=parts.len() {
                found.insert(NamespaceIdent::from_strs(&parts[..depth]).map_err(from_iceberg)?);
            }
        }
        Ok(found.into_iter().collect())
    }

    pub(crate) async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let names = self.database.tables(namespace).await?;
        if names.is_empty() && !self.list_namespaces().await?.contains(namespace) {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no namespace '{namespace}'"))
                .with("catalog", self.describe()));
        }
        Ok(names.into_iter().map(|name| TableIdent::new(namespace.clone(), name)).collect())
    }

    pub(crate) async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        match self.database.delete_table(ident).await? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::NotFound, format!("there is no table '{ident}'"))
                .with("catalog", self.describe())),
        }
    }

    pub(crate) async fn create_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.database.insert_namespace(namespace).await
    }

    pub(crate) async fn commit(
        &self,
        table: &Table,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        let ident = table.identifier();
        let old = table.metadata_location_result().map_err(from_iceberg)?.to_owned();
        // Checked against what the updates were made from: that the table still is that is what the swap checks.
        for requirement in &requirements {
            requirement.check(Some(table.metadata())).map_err(|error| from_iceberg(error).with("table", ident))?;
        }
        let mut builder = table.metadata().clone().into_builder(Some(old.clone()));
        for update in updates {
            builder = update.apply(builder).map_err(|error| from_iceberg(error).with("table", ident))?;
        }
        let built = builder.build().map_err(|error| from_iceberg(error).with("table", ident))?;
        let new = metadata_file::write(&built.metadata, &self.file_io, Some(&old)).await?;
        if let Err(error) = self.stores.flushed().await {
            self.discard(new).await;
            return Err(error);
        }
        match self.database.swap(ident, &old, &new).await {
            Ok(Swap::Done) => {}
            Ok(Swap::Moved(found)) => {
                self.discard(new).await;
                let message =
                    format!("another writer committed to table '{ident}' first: reload the table and commit again");
                return Err(Error::new(ErrorKind::Conflict, message)
                    .retryable()
                    .with("expected", &old)
                    .with("found", found));
            }
            Ok(Swap::Gone) => {
                self.discard(new).await;
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("table '{ident}' was dropped while it was written to"),
                ));
            }
            Err(error) => {
                if error.kind() != ErrorKind::OutcomeUnknown {
                    self.discard(new).await;
                }
                return Err(error);
            }
        }
        let metadata: TableMetadataRef = built.metadata.into();
        self.remove_expired(&metadata, built.expired_metadata_logs);
        self.table(ident, new, metadata)
    }

    /// Removes metadata files that fell out of the log, beside the next work: a commit neither waits for it nor fails by it.
    fn remove_expired(&self, metadata: &TableMetadata, expired: Vec<MetadataLog>) {
        let wanted =
            metadata.properties().get(DELETE_OLD_METADATA).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if !wanted || expired.is_empty() {
            return;
        }
        let file_io = self.file_io.clone();
        tokio::spawn(async move {
            let files = futures::stream::iter(expired.into_iter().map(|entry| entry.metadata_file));
            if let Err(error) = file_io.delete_stream(files).await {
                log::debug!("an old metadata file was left behind: {}", from_iceberg(error));
            }
        });
    }

    /// Removes a metadata file that no catalog names.
    async fn discard(&self, location: String) {
        if let Err(error) = self.file_io.delete(&location).await {
            log::debug!("the unused metadata file {location} was left behind: {}", from_iceberg(error));
        }
    }
}

/// What is wrong with a table to be created is wrong in the job, not in the catalog.
fn config_error(error: iceberg::Error, ident: &TableIdent) -> Error {
    let error = from_iceberg(error);
    match error.kind() {
        ErrorKind::Catalog => {
            Error::new(ErrorKind::Config, format!("table '{ident}' cannot be created: {}", error.message()))
        }
        _ => error,
    }
}

fn refuse_rest_settings(settings: &CatalogSettings) -> Result<()> {
    let given = [
        ("token", settings.token.is_some()),
        ("credential", settings.credential.is_some()),
        ("oauth2_server_uri", settings.oauth2_server_uri.is_some()),
        ("scope", settings.scope.is_some()),
        ("prefix", settings.prefix.is_some()),
        ("headers", !settings.headers.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::config(
            format!("lake.{name}"),
            format!(
                "only REST catalogs (http:// or https://) have it, found the catalog '{}'",
                frazil_model::redact_url(&settings.catalog)
            ),
        )),
        None => Ok(()),
    }
}
