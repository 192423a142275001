//! The one handle on a catalog, whichever kind it is.

use std::fmt;
use std::sync::Arc;

use frazil_model::{CatalogSettings, Error, ErrorKind, Result};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};

use crate::rest::RestCatalog;
use crate::sql::SqlCatalog;

/// A catalog with its storage. Cheap to clone.
#[derive(Clone)]
pub struct Lake(Arc<Inner>);

struct Inner {
    name: String,
    catalog: Catalog,
}

enum Catalog {
    Sql(SqlCatalog),
    Rest(RestCatalog),
}

/// Calls the same method of either catalog.
macro_rules! each {
    ($lake:expr, $catalog:ident => $call:expr) => {
        match &$lake.0.catalog {
            Catalog::Sql($catalog) => $call,
            Catalog::Rest($catalog) => $call,
        }
    };
}

impl Lake {
    /// Opens the catalog that the settings name: `./dir` or `sqlite:///path/catalog.db` (both created if absent),
    /// `http(s)://…` for a REST catalog, or `memory:` for one that is gone with its last handle.
    ///
    /// # Errors
    /// `Config` if the settings do not fit together, `Unauthorized` if the catalog refuses them, `Catalog` or `Storage`
    /// if it cannot be reached.
    pub async fn open(settings: &CatalogSettings) -> Result<Lake> {
        let location = settings.catalog.trim();
        if location.is_empty() {
            return Err(Error::config(
                "lake.catalog",
                "expected a directory, sqlite:///path/catalog.db or a URL, found nothing",
            ));
        }
        if settings.name.trim().is_empty() {
            return Err(Error::config(
                "lake.name",
                "expected the catalog's name, found nothing: the default is 'lake'",
            ));
        }
        let catalog = if location.starts_with("http://") || location.starts_with("https://") {
            Catalog::Rest(RestCatalog::open(settings).await?)
        } else {
            Catalog::Sql(SqlCatalog::open(settings).await?)
        };
        Ok(Lake(Arc::new(Inner { name: settings.name.clone(), catalog })))
    }

    /// The catalog's name (`catalog_name` in the shared SQL schema).
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where the catalog is, for messages: without credentials.
    pub fn describe(&self) -> String {
        each!(self, catalog => catalog.describe())
    }

    /// Loads a table as it is now.
    ///
    /// # Errors
    /// `NotFound`, with similar names if there are any.
    pub async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        match each!(self, catalog => catalog.load_table(ident).await) {
            Err(error) if error.kind() == ErrorKind::NotFound && error.context().is_empty() => {
                Err(self.not_found(ident).await)
            }
            other => other,
        }
    }

    /// Creates a table, and its namespace if that is absent. Without a location it goes below the warehouse.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        each!(self, catalog => catalog.create_table(namespace, creation).await)
    }

    /// Whether there is such a table.
    ///
    /// # Errors
    /// `Catalog` or `Unauthorized` if the catalog cannot be asked.
    pub async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        each!(self, catalog => catalog.table_exists(ident).await)
    }

    /// All namespaces, nested ones included, in order.
    ///
    /// # Errors
    /// `Catalog` or `Unauthorized` if the catalog cannot be asked.
    pub async fn list_namespaces(&self) -> Result<Vec<NamespaceIdent>> {
        let mut found = each!(self, catalog => catalog.list_namespaces().await)?;
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The tables of a namespace, in order; without those of namespaces in it.
    ///
    /// # Errors
    /// `NotFound` if there is no such namespace.
    pub async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let mut found = each!(self, catalog => catalog.list_tables(namespace).await)?;
        found.sort();
        Ok(found)
    }

    /// Removes a table from the catalog. Its files stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        each!(self, catalog => catalog.drop_table(ident).await)
    }

    /// Creates a namespace; one that is there already is fine.
    ///
    /// # Errors
    /// `Catalog` or `Unauthorized` if the catalog does not do it.
    pub async fn create_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        each!(self, catalog => catalog.create_namespace(namespace).await)
    }

    /// Commits updates to a table, all or none, if the requirements hold and no other writer came first. `table` is the
    /// state that the updates were made from. Nothing is tried twice here: what to do depends on the kind of error.
    ///
    /// # Errors
    /// * `Conflict`: nothing has changed; load the table and build the commit again.
    /// * `OutcomeUnknown`: it may have been committed; find out before doing anything, delete nothing.
    /// * any other kind: nothing has changed; retryable errors (a busy catalog, no connection) may be tried again as is.
    pub async fn commit(
        &self,
        table: &Table,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        each!(self, catalog => catalog.commit(table, requirements, updates).await)
    }

    async fn not_found(&self, ident: &TableIdent) -> Error {
        let mut hint = String::new();
        match self.list_tables(ident.namespace()).await {
            Ok(tables) => {
                if let Some(near) = nearest(ident.name(), tables.iter().map(TableIdent::name)) {
                    hint = format!(", did you mean '{}.{near}'?", ident.namespace());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let names: Vec<String> =
                    self.list_namespaces().await.unwrap_or_default().iter().map(ToString::to_string).collect();
                let wanted = ident.namespace().to_string();
                hint = match nearest(&wanted, names.iter().map(String::as_str)) {
                    Some(near) => format!(", nor a namespace '{wanted}', did you mean '{near}'?"),
                    None => format!(", nor a namespace '{wanted}'"),
                };
            }
            Err(_) => {}
        }
        Error::new(ErrorKind::NotFound, format!("there is no table '{ident}'{hint}")).with("catalog", self.describe())
    }
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({} {})", self.0.name, self.describe())
    }
}

fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A table's identifier from its text: `shop.sales`, nested namespaces as in `eu.shop.sales`.
///
/// # Errors
/// `Config` unless there is a namespace and a name, both not empty.
pub fn table_ident(text: &str) -> Result<TableIdent> {
    let parts: Vec<&str> = text.split('.').collect();
    let usable = |part: &&str| !part.is_empty() && part.trim().len() == part.len() && !part.contains(['/', '\u{1f}']);
    if parts.len() < 2 || !parts.iter().all(usable) {
        return Err(Error::new(ErrorKind::Config, format!("expected a table as 'namespace.name', found {text:?}")));
    }
    TableIdent::from_strs(parts).map_err(crate::from_iceberg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_read_with_their_namespaces() {
        let ident = table_ident("eu.shop.sales").unwrap();
        assert_eq!((ident.namespace().to_string().as_str(), ident.name()), ("eu.shop", "sales"));
        for text in ["", "sales", "shop.", ".sales", "shop..sales", "shop. sales", "shop/x.sales"] {
            assert_eq!(table_ident(text).unwrap_err().kind(), ErrorKind::Config, "{text:?}");
        }
    }
}
