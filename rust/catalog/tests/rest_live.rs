//! The REST client against a running catalog. Runs where `FRAZIL_TEST_REST_URI` names one; the settings below come from
//! further variables: `…_WAREHOUSE`, `…_CREDENTIAL`, `…_TOKEN`, `…_OAUTH2_SERVER_URI`, `…_PREFIX`, `…_S3_ENDPOINT`,
//! `…_S3_KEY`, `…_S3_SECRET`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use frazil_catalog::{Lake, from_iceberg, table_ident};
use frazil_model::{CatalogSettings, ErrorKind, Secret, Storage};
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use iceberg::{TableCreation, TableRequirement, TableUpdate};

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("FRAZIL_TEST_REST_{name}")).ok().filter(|value| !value.is_empty())
}

fn settings() -> Option<CatalogSettings> {
    let Some(catalog) = variable("URI") else {
        println!("skipped: FRAZIL_TEST_REST_URI names no catalog");
        return None;
    };
    Some(CatalogSettings {
        catalog,
        name: CatalogSettings::default_name(),
        warehouse: variable("WAREHOUSE"),
        credential: variable("CREDENTIAL").map(Secret::new),
        token: variable("TOKEN").map(Secret::new),
        oauth2_server_uri: variable("OAUTH2_SERVER_URI"),
        prefix: variable("PREFIX"),
        storage: Storage {
            endpoint: variable("S3_ENDPOINT"),
            access_key_id: variable("S3_KEY").map(Secret::new),
            secret_access_key: variable("S3_SECRET").map(Secret::new),
            ..Storage::default()
        },
        ..CatalogSettings::default()
    })
}

/// Unlike any other run's and any other test's.
fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    format!("live_{now}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn creation(name: &str) -> TableCreation {
    let fields = vec![NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into()];
    let schema = Schema::builder().with_fields(fields).build().expect("a valid schema");
    TableCreation::builder().name(name.to_owned()).schema(schema).build()
}

fn set(key: &str, value: impl ToString) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: HashMap::from([(key.to_owned(), value.to_string())]) }]
}

#[tokio::test]
async fn a_table_lives_its_life() {
    let Some(settings) = settings() else { return };
    let lake = Lake::open(&settings).await.unwrap();
    let ident = table_ident(&format!("{}.sales", namespace())).unwrap();
    assert!(!lake.table_exists(&ident).await.unwrap());
    assert_eq!(lake.load_table(&ident).await.unwrap_err().kind(), ErrorKind::NotFound);
    let table = lake.create_table(ident.namespace(), creation("sales")).await.unwrap();
    assert_eq!(
        lake.create_table(ident.namespace(), creation("sales")).await.unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert!(lake.table_exists(&ident).await.unwrap());
    assert!(lake.list_namespaces().await.unwrap().contains(ident.namespace()));
    assert_eq!(lake.list_tables(ident.namespace()).await.unwrap(), vec![ident.clone()]);
    let near = lake.load_table(&table_ident(&format!("{}.sale", ident.namespace())).unwrap()).await.unwrap_err();
    assert!(near.message().contains("did you mean"), "{near}");

    let requirements = vec![
        TableRequirement::UuidMatch { uuid: table.metadata().uuid() },
        TableRequirement::RefSnapshotIdMatch { r#ref: "main".into(), snapshot_id: None },
    ];
    let committed = lake.commit(&table, requirements, set("k", "v")).await.unwrap();
    assert_eq!(committed.metadata().properties()["k"], "v");
    let loaded = Lake::open(&settings).await.unwrap().load_table(&ident).await.unwrap();
    assert_eq!(loaded.metadata().properties()["k"], "v");
    let stale = vec![TableRequirement::RefSnapshotIdMatch { r#ref: "main".into(), snapshot_id: Some(7) }];
    let error = lake.commit(&table, stale, set("k", "w")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true), "{error}");

    lake.drop_table(&ident).await.unwrap();
    assert_eq!(lake.commit(&committed, vec![], set("k", "w")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lake.drop_table(&ident).await.unwrap_err().kind(), ErrorKind::NotFound);
    lake.create_namespace(ident.namespace()).await.expect("one that is there already is fine");
}

/// One small file by a single PUT, one of 21 MiB in parts, a range of it, and both deleted.
#[tokio::test]
async fn the_tables_storage_takes_and_gives_files() {
    let Some(settings) = settings() else { return };
    let lake = Lake::open(&settings).await.unwrap();
    let ident = table_ident(&format!("{}.files", namespace())).unwrap();
    let created = lake.create_table(ident.namespace(), creation("files")).await.unwrap();
    let table = lake.load_table(&ident).await.unwrap();
    assert_eq!(created.metadata().location(), table.metadata().location());
    let io = table.file_io();
    for (name, size) in [("small", 1000usize), ("large", 21 << 20)] {
        let location = format!("{}/data/day=2013-01-01/x=a%2Fb {name}", table.metadata().location());
        let whole: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
        let mut writer = io.new_output(&location).unwrap().writer().await.unwrap();
        for piece in whole.chunks(1_000_003) {
            writer.write(piece.to_vec().into()).await.map_err(from_iceberg).unwrap();
        }
        writer.close().await.map_err(from_iceberg).unwrap();
        let input = io.new_input(&location).unwrap();
        assert_eq!(input.metadata().await.unwrap().size, size as u64);
        assert!(input.read().await.unwrap() == whole, "{location}");
        assert!(input.reader().await.unwrap().read(500..900).await.unwrap() == whole[500..900]);
        io.delete_stream(futures::stream::iter([location.clone()])).await.map_err(from_iceberg).unwrap();
        assert!(!io.exists(&location).await.unwrap());
    }
    let missing =
        io.new_input(format!("{}/data/never", table.metadata().location())).unwrap().read().await.unwrap_err();
    assert_eq!(from_iceberg(missing).kind(), ErrorKind::NotFound);
    lake.drop_table(&ident).await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_refused_without_being_shown() {
    let Some(settings) = settings().filter(|settings| settings.credential.is_some()) else {
        println!("skipped: FRAZIL_TEST_REST_CREDENTIAL is not set");
        return;
    };
    let wrong = CatalogSettings { credential: Some(Secret::new("nobody:hunter2hunter2")), ..settings };
    let error = match Lake::open(&wrong).await {
        Err(error) => error,
        // Some servers give their configuration to anybody.
        Ok(lake) => lake.list_namespaces().await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_catalog_that_is_not_there_is_a_retryable_error() {
    let settings =
        CatalogSettings { catalog: "http://127.0.0.1:9".into(), name: "lake".into(), ..CatalogSettings::default() };
    let error = Lake::open(&settings).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Catalog, true), "{error}");
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
}
