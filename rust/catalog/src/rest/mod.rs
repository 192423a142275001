//! A catalog over Iceberg's REST protocol: what is asked, in which order, and what the answers mean for a table.
//!
//! Commits are sent once. An answer that never came or says nothing (500, 502, 504) is `OutcomeUnknown`.

mod auth;
mod failure;
mod http;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use frazil_model::{CatalogSettings, Error, ErrorKind, Result, redact_url};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIOBuilder;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, Runtime, TableCreation, TableIdent, TableRequirement, TableUpdate};
use parking_lot::Mutex;
use reqwest::Method;

use self::failure::Operation;
use self::http::{Call, Http};
use self::wire::LoadedTable;
use crate::from_iceberg;
use crate::storage::{ObjectStorageFactory, PrefixedProperties, Renew, S3Settings, Stores, Vended};

const NOTHING: Option<&()> = None;
/// Namespaces asked for their children at once.
const LISTINGS: usize = 8;

/// A REST catalog and the storage access that it gave.
pub(crate) struct RestCatalog {
    client: Arc<Client>,
    shown: String,
    stores: Arc<Stores>,
    /// One for each table, so that every handle on it sees renewed credentials.
    vended: Mutex<HashMap<TableIdent, Arc<Vended>>>,
}

/// What is needed to ask: shared with the credentials that renew themselves.
struct Client {
    http: Http,
    /// `https://host/path/v1/prefix`.
    root: String,
    separator: String,
    /// The catalog's configuration, defaults and overrides together.
    config: HashMap<String, String>,
}

impl RestCatalog {
    pub(crate) async fn open(settings: &CatalogSettings) -> Result<Self> {
        let base = settings.catalog.trim().trim_end_matches('/');
        let mut base = base.strip_suffix("/v1").unwrap_or(base).to_owned();
        url::Url::parse(&base)
            .map_err(|_| Error::config("lake.catalog", format!("expected a URL, found {:?}", redact_url(&base))))?;
        let shown = redact_url(&base);
        let mut http = Http::new(settings, &base)?;
        let query: Vec<(&str, &str)> =
            settings.warehouse.iter().map(|warehouse| ("warehouse", warehouse.as_str())).collect();
        let path = format!("{base}/v1/config");
        let call = Call { query: &query, operation: Operation::Configure, ..Call::get(&path, "open the catalog") };
        let answer: wire::Config = http.json(&call, NOTHING).await.map_err(|error| error.with("catalog", &shown))?;
        let mut config = answer.defaults;
        if let Some(prefix) = &settings.prefix {
            config.insert("prefix".to_owned(), prefix.clone());
        }
        config.extend(answer.overrides);
        http.add_headers(&config)?;
        if let Some(moved) = config.get("uri") {
            base = moved.trim_end_matches('/').to_owned();
        }
        let root = match config.get("prefix").map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty())
        {
            Some(prefix) => format!("{base}/v1/{prefix}"),
            None => format!("{base}/v1"),
        };
        let separator = config.get("namespace-separator").cloned().unwrap_or_else(|| "%1F".to_owned());
        let stores = Arc::new(Stores::new(S3Settings::from_model(&settings.storage)?));
        Ok(RestCatalog {
            client: Arc::new(Client { http, root, separator, config }),
            shown,
            stores,
            vended: Mutex::default(),
        })
    }

    pub(crate) fn describe(&self) -> String {
        self.shown.clone()
    }

    pub(crate) async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        let loaded = self.client.load(ident).await?;
        self.table(ident, loaded)
    }

    fn table(&self, ident: &TableIdent, loaded: LoadedTable) -> Result<Table> {
        let vended = {
            let mut all = self.vended.lock();
            let source = || Vended::new(Box::new(Reload { client: self.client.clone(), ident: ident.clone() }));
            let known = all.contains_key(ident);
            let vended = all.entry(ident.clone()).or_insert_with(|| Arc::new(source())).clone();
            if loaded.access.is_given() || !known {
                vended.update(loaded.access.properties(&self.client.config));
            }
            vended
        };
        let mut table = Table::builder()
            .identifier(ident.clone())
            .metadata(loaded.metadata)
            .file_io(FileIOBuilder::new(Arc::new(ObjectStorageFactory::new(self.stores.clone(), Some(vended)))).build())
            .runtime(Runtime::try_current().map_err(from_iceberg)?);
        if let Some(location) = loaded.metadata_location {
            table = table.metadata_location(location);
        }
        table.build().map_err(from_iceberg)
    }

    pub(crate) async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let path = self.client.namespace_path(namespace, "/tables");
        let action = format!("create table '{ident}'");
        let call = Call { method: Method::POST, operation: Operation::Create, ..Call::get(&path, &action) };
        // Some servers answer a second creation with the table that is there.
        if self.table_exists(&ident).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a table '{ident}' already")));
        }
        let request = wire::CreateTable::from(creation);
        let created = match self.client.http.json(&call, Some(&request)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create_namespace(namespace).await?;
                self.client.http.json(&call, Some(&request)).await
            }
            other => other,
        };
        self.table(&ident, created?)
    }

    pub(crate) async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        let path = self.client.table_path(ident);
        let action = format!("look up table '{ident}'");
        let call = Call { method: Method::HEAD, ..Call::get(&path, &action) };
        match self.client.http.send(&call, NOTHING).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            // Not every server knows HEAD.
            Err(error) if matches!(error.kind(), ErrorKind::Catalog | ErrorKind::Unsupported) => {
                match self.client.load(ident).await {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn list_namespaces(&self) -> Result<Vec<NamespaceIdent>> {
        let mut level = self.client.namespaces(None).await?;
        let mut all = level.clone();
        while !level.is_empty() {
            let children = futures::stream::iter(level).map(|parent| async move {
                match self.client.namespaces(Some(&parent)).await {
                    // Dropped meanwhile, or a server without nested namespaces.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
                        Ok(Vec::new())
                    }
                    // A server that ignores `parent` gives the first level again.
                    found => found.map(|found| found.into_iter().filter(|child| is_below(child, &parent)).collect()),
                }
            });
            level = children.buffer_unordered(LISTINGS).try_concat().await?;
            all.extend(level.iter().cloned());
        }
        Ok(all)
    }

    pub(crate) async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let path = self.client.namespace_path(namespace, "/tables");
        let mut all = Vec::new();
        let mut page = None;
        loop {
            let query: Vec<(&str, &str)> = page.iter().map(|token: &String| ("pageToken", token.as_str())).collect();
            let call = Call { query: &query, ..Call::get(&path, "list tables") };
            let answer: wire::Tables =
                self.client.http.json(&call, NOTHING).await.map_err(|error| error.with("namespace", namespace))?;
            all.extend(answer.identifiers);
            page = answer.next_page_token.filter(|token| !token.is_empty());
            if page.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let path = self.client.table_path(ident);
        let action = format!("drop table '{ident}'");
        // Sent once: a second try after an unseen success would say that there is no such table.
        let call = Call {
            method: Method::DELETE,
            query: &[("purgeRequested", "false")],
            operation: Operation::Create,
            ..Call::get(&path, &action)
        };
        self.client.http.send(&call, NOTHING).await?;
        self.vended.lock().remove(ident);
        Ok(())
    }

    /// Parents first: some servers want them to be there.
    pub(crate) async fn create_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let mut chain = vec![namespace.clone()];
        while let Some(parent) = chain.last().and_then(NamespaceIdent::parent) {
            chain.push(parent);
        }
        let path = format!("{}/namespaces", self.client.root);
        for namespace in chain.iter().rev() {
            let action = format!("create namespace '{namespace}'");
            let call = Call { method: Method::POST, operation: Operation::Create, ..Call::get(&path, &action) };
            let request = wire::CreateNamespace { namespace, properties: HashMap::new() };
            match self.client.http.send(&call, Some(&request)).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) async fn commit(
        &self,
        table: &Table,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        let ident = table.identifier();
        let path = self.client.table_path(ident);
        self.stores.flushed().await?;
        let action = format!("commit to table '{ident}'");
        let call = Call { method: Method::POST, operation: Operation::Commit, ..Call::get(&path, &action) };
        let committed: LoadedTable =
            self.client.http.json(&call, Some(&wire::Commit { identifier: ident, requirements, updates })).await?;
        self.table(ident, committed)
    }
}

impl Client {
    fn namespace_path(&self, namespace: &NamespaceIdent, below: &str) -> String {
        let parts: Vec<String> = namespace.iter().map(|part| encoded(part)).collect();
        format!("{}/namespaces/{}{below}", self.root, parts.join(&self.separator))
    }

    fn table_path(&self, ident: &TableIdent) -> String {
        self.namespace_path(ident.namespace(), &format!("/tables/{}", encoded(ident.name())))
    }

    async fn load(&self, ident: &TableIdent) -> Result<LoadedTable> {
        let path = self.table_path(ident);
        let action = format!("load table '{ident}'");
        self.http.json(&Call::get(&path, &action), NOTHING).await
    }

    async fn namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        let path = format!("{}/namespaces", self.root);
        // The query is encoded once more on the way, so the separator goes in plain.
        let parent = parent.map(|parent| parent.join(&decoded_separator(&self.separator)));
        let mut all = Vec::new();
        let mut page = None;
        loop {
            let mut query: Vec<(&str, &str)> = parent.iter().map(|parent| ("parent", parent.as_str())).collect();
            query.extend(page.iter().map(|token: &String| ("pageToken", token.as_str())));
            let call = Call { query: &query, ..Call::get(&path, "list namespaces") };
            let answer: wire::Namespaces = self.http.json(&call, NOTHING).await?;
            all.extend(answer.namespaces);
            page = answer.next_page_token.filter(|token| !token.is_empty());
            if page.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Gets a table's storage access by loading it again.
struct Reload {
    client: Arc<Client>,
    ident: TableIdent,
}

#[async_trait]
impl Renew for Reload {
    async fn renew(&self) -> Result<Vec<PrefixedProperties>> {
        let loaded = self.client.load(&self.ident).await?;
        Ok(loaded.access.properties(&self.client.config))
    }
}

fn is_below(child: &NamespaceIdent, parent: &NamespaceIdent) -> bool {
    child.len() > parent.len() && child.starts_with(parent)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded_separator(separator: &str) -> String {
    let code = separator.strip_prefix('%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
    code.map_or_else(|| separator.to_owned(), |code| char::from(code).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_for_the_path() {
        assert_eq!(encoded("a b/ü+~"), "a%20b%2F%C3%BC%2B~");
        assert_eq!(decoded_separator("%1F"), "\u{1f}");
        assert_eq!(decoded_separator("."), ".");
    }
}
