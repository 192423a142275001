//! The two things that a commit needs of a catalog, as a trait, so that tests can put faults in between.

use std::future::Future;

use frazil_catalog::Lake;
use frazil_model::Result;
use iceberg::table::Table;
use iceberg::{TableIdent, TableRequirement, TableUpdate};

/// A catalog as far as commits need it. [`Lake`] is one; a fault-injecting wrapper is another.
pub trait CatalogCommit: Clone + Send + Sync + 'static {
    /// Loads the table as it now stands.
    fn load_table(&self, ident: &TableIdent) -> impl Future<Output = Result<Table>> + Send;

    /// Applies `updates` to `table` if all `requirements` still hold.
    ///
    /// Errors: `Conflict` if another writer was first, `OutcomeUnknown` if it may or may not have been applied, any
    /// other kind if it certainly was not.
    fn commit(
        &self,
        table: &Table,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> impl Future<Output = Result<Table>> + Send;
}

impl CatalogCommit for Lake {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        Lake::load_table(self, ident).await
    }

    async fn commit(
        &self,
        table: &Table,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        Lake::commit(self, table, requirements, updates).await
    }
}
