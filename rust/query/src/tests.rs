//! Queries over real tables in a lake on the local disk.

mod lake;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;
use frazil_model::ErrorKind;

use self::lake::{Shop, people, sales};
use crate::{AsOf, Engine, QueryOptions, Rows, Scan};

fn engine(shop: &Shop) -> Engine {
    Engine::new(shop.lake.clone(), QueryOptions { partitions: Some(2), ..QueryOptions::default() }).unwrap()
}

async fn text(rows: Rows) -> String {
    pretty_format_batches(&rows.collect().await.unwrap()).unwrap().to_string()
}

/// The rows of a table as text, borders and header left out.
async fn lines(engine: &Engine, query: &str) -> Vec<String> {
    let rows = engine.sql(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let text = text(rows).await;
    let inside = text.lines().skip(3).filter(|line| line.starts_with('|'));
    inside.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()).collect()
}

async fn refused(engine: &Engine, query: &str) -> (ErrorKind, String) {
    match engine.sql(query).await {
        Ok(rows) => {
            let error = rows.collect().await.err().unwrap_or_else(|| panic!("must be refused: {query}"));
            (error.kind(), error.to_string())
        }
        Err(error) => (error.kind(), error.to_string()),
    }
}

async fn explain(engine: &Engine, query: &str) -> String {
    text(engine.sql(&format!("explain {query}")).await.unwrap()).await
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let mut ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec())
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tables_are_joined_grouped_and_sorted() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    let query = "select p.name, sum(s.price) as total, count(*) as n from shop.sales s join shop.people p on s.user_id = p.id \
                 group by p.name order by total desc";
    assert_eq!(lines(&engine, query).await, ["ada 42.0 3", "bob 30.0 2"]);
    assert_eq!(
        lines(&engine, "select count(*) from lake.shop.sales").await,
        ["6"],
        "the catalog's name may stand in front"
    );
    assert_eq!(
        lines(&engine, "with a as (select id from shop.sales where price > 5) select max(id), min(id) from a").await,
        ["6 2"]
    );
    let doubled = "select count(*) from shop.sales a join shop.sales b on a.id = b.id";
    assert_eq!(lines(&engine, doubled).await, ["6"], "a table may be named twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_files_and_never_lose_rows() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    // Three files: ids 1-2, 3-4, 5-6; prices 2, 10; 15, 20; 25, NaN, which sorts above every number.
    for (filter, files, rows) in [
        ("id > 4", 1, "2"),
        ("4 < id", 1, "2"),
        ("id = 3", 1, "1"),
        ("id in (1, 6)", 2, "2"),
        ("not (id < 5 or id > 5)", 1, "1"),
        ("id between 2 and 3", 2, "2"),
        ("id > 4 and upper(country) = 'FR'", 1, "1"),
        ("id = 1 or upper(country) = 'FR'", 3, "3"),
        ("country like 'f%'", 2, "2"),
        ("country is null", 1, "1"),
        ("country is not null and id < 3", 1, "2"),
        ("not (country is null)", 3, "5"),
        ("not (country is not null and id < 5)", 2, "3"),
        ("ts >= timestamp '2026-11-01 00:00:05Z'", 1, "2"),
        ("ts >= '2026-11-01T00:00:05Z'", 1, "2"),
        ("price > 15.0", 2, "3"),
        ("price > 100", 1, "1"),
        ("not (price <= 15.0)", 2, "3"),
        ("price < 2.5", 1, "1"),
        ("id % 2 = 0", 3, "3"),
        ("id > 100", 0, "0"),
    ] {
        let plan = explain(&engine, &format!("select * from shop.sales where {filter}")).await;
        assert!(plan.contains(&format!("files={files},")), "{filter}:\n{plan}");
        assert_eq!(
            lines(&engine, &format!("select count(*) from shop.sales where {filter}")).await,
            [rows],
            "{filter}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nan_is_above_every_number_whatever_the_statistics_say() {
    let shop = Shop::open().await;
    // Row 6's price is NaN, alone above 20; the file's bounds leave it out.
    let rows = engine(&shop).sql("select id from shop.sales where price > 1000").await.unwrap();
    assert_eq!(ids(&rows.collect().await.unwrap()), [6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_prune_files_and_their_columns_come_out_right() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    let query = "select name, city from shop.people where city = 'Paris' order by id";
    assert!(explain(&engine, query).await.contains("files=1,"));
    assert_eq!(lines(&engine, query).await, ["ada Paris", "cyd Paris"]);
    assert_eq!(
        lines(&engine, "select city, count(*) as n from shop.people group by city order by city").await,
        ["Oslo 1", "Paris 2"]
    );
    assert_eq!(lines(&engine, "select name from shop.people where city <> 'Paris' and id > 0").await, ["bob"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_everything_reads_no_file() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    let plan = explain(&engine, "select count(*) from shop.sales").await;
    assert!(!plan.contains("FileScan:"), "answered from the manifests:\n{plan}");
    assert_eq!(lines(&engine, "select count(*) from shop.sales").await, ["6"]);
    assert_eq!(lines(&engine, "select count(country) from shop.sales").await, ["5"], "nulls are not counted");
    assert_eq!(lines(&engine, "select count(*) from shop.empty").await, ["0"]);
    assert!(lines(&engine, "select * from shop.empty where id > 3 order by id").await.is_empty());
    assert_eq!(
        lines(&engine, "select 1 as one from shop.sales where id < 3").await,
        ["1", "1"],
        "no column of the table is needed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_rows_are_neither_read_nor_counted() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    shop.delete("shop.sales", vec![2, 3]).await;
    assert_eq!(lines(&engine, "select count(*) from shop.sales").await, ["4"]);
    assert_eq!(
        lines(&engine, "select country, price from shop.sales where id <= 4 order by price").await,
        ["de 2.0", "fr 20.0"]
    );
    assert_eq!(lines(&engine, "select id from shop.sales order by id limit 2").await, ["1", "4"]);
    let scan = Scan { table: "shop.sales".to_owned(), limit: Some(4), ..Scan::default() };
    assert_eq!(ids(&engine.scan(scan).await.unwrap().collect().await.unwrap()), [1, 4, 5, 6]);
    let before =
        Scan { table: "shop.sales".to_owned(), as_of: Some(AsOf::Snapshot(shop.snapshots[2].0)), ..Scan::default() };
    assert_eq!(ids(&engine.scan(before).await.unwrap().collect().await.unwrap()).len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_opens_no_more_files_than_it_needs() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    assert!(explain(&engine, "select id from shop.sales limit 2").await.contains("files=1,"));
    assert!(explain(&engine, "select id from shop.sales limit 3").await.contains("files=2,"));
    for limit in [0, 1, 2, 5, 100] {
        let scan = Scan { table: "shop.sales".to_owned(), limit: Some(limit), ..Scan::default() };
        assert_eq!(ids(&engine.scan(scan).await.unwrap().collect().await.unwrap_or_default()).len(), limit.min(6));
    }
    assert_eq!(lines(&engine, "select id from shop.sales where id > 2 order by id limit 2").await, ["3", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_come_in_the_order_asked_for() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    assert_eq!(lines(&engine, "select price, id from shop.sales where id = 2").await, ["10.0 2"]);
    let scan = Scan {
        table: "shop.sales".to_owned(),
        with_columns: vec![("twice".to_owned(), "price * 2".to_owned())],
        filter: Some("twice >= 20 and id < 3".to_owned()),
        select: vec!["twice".to_owned(), "country as land".to_owned(), "id".to_owned()],
        ..Scan::default()
    };
    let rows = engine.scan(scan).await.unwrap();
    assert_eq!(
        rows.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["twice", "land", "id"]
    );
    let batches = rows.collect().await.unwrap();
    assert_eq!(ids(&batches), [2]);
    assert_eq!(
        batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0).as_primitive::<Float64Type>().value(0),
        20.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_read_by_snapshot_time_and_name() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    let (first, second) = (shop.snapshots[0], shop.snapshots[1]);
    for (as_of, expected) in [
        (AsOf::Snapshot(first.0), 2),
        (AsOf::Snapshot(second.0), 4),
        (AsOf::Timestamp(first.1), 2),
        (AsOf::Timestamp(second.1 - 1), 2),
        (AsOf::Timestamp(i64::MAX), 6),
        (AsOf::Ref("main".to_owned()), 6),
    ] {
        let scan = Scan { table: "shop.sales".to_owned(), as_of: Some(as_of.clone()), ..Scan::default() };
        assert_eq!(ids(&engine.scan(scan).await.unwrap().collect().await.unwrap()).len(), expected, "{as_of:?}");
    }
    for (as_of, part) in [
        (AsOf::Snapshot(7), "no snapshot 7; the table has 3 snapshots, from "),
        (AsOf::Timestamp(0), "nothing is known of the table at 1970-01-01T00:00:00Z; the table has 3 snapshots"),
        (AsOf::Ref("mian".to_owned()), "no branch or tag 'mian', did you mean 'main'? there are: main"),
    ] {
        let scan = Scan { table: "shop.sales".to_owned(), as_of: Some(as_of), ..Scan::default() };
        let error = engine.scan(scan).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with(part) && error.to_string().ends_with("(table=shop.sales)"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_query_sees_the_newest_snapshot() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    assert_eq!(lines(&engine, "select count(*) from shop.sales").await, ["6"]);
    shop.append("shop.sales", vec![sales(7)]).await;
    assert_eq!(lines(&engine, "select count(*), max(id) from shop.sales").await, ["8 8"]);
    shop.append("shop.people", vec![people(9, "dan", "Rome")]).await;
    assert_eq!(lines(&engine, "select name from shop.people where city = 'Rome'").await, ["dan"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_answered_with_near_names() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    let (kind, text) = refused(&engine, "select * from shop.slaes").await;
    assert!(kind == ErrorKind::NotFound && text.contains("shop.slaes") && text.contains("sales"), "{text}");
    let (kind, text) = refused(&engine, "select * from sales").await;
    assert_eq!((kind, text.as_str()), (ErrorKind::NotFound, "no table 'sales': tables are named 'namespace.table'"));
    let (kind, text) = refused(&engine, "select prise from shop.sales").await;
    assert_eq!(
        (kind, text.as_str()),
        (ErrorKind::Schema, "no column 'prise', did you mean 'price'? columns: id, user_id, country, price, ts")
    );
    let (kind, text) =
        refused(&engine, "select s.prise from shop.sales s join shop.people p on s.user_id = p.id").await;
    assert!(kind == ErrorKind::Schema && text.starts_with("no column 's.prise', did you mean 'price'?"), "{text}");
    let (_, text) = refused(&engine, "select id from shop.sales a join shop.people b on a.id = b.id").await;
    assert!(text.contains("in more than one table"), "{text}");
    assert_eq!(refused(&engine, "select 1 + from shop.sales where").await.0, ErrorKind::Config);
    assert_eq!(refused(&engine, "select cast('x' as int) from shop.sales").await.0, ErrorKind::Schema);
    let scan = Scan { table: "shop.sales".to_owned(), filter: Some("prise > 1".to_owned()), ..Scan::default() };
    let error = engine.scan(scan).await.err().unwrap();
    assert!(error.kind() == ErrorKind::Config && error.to_string().starts_with("where: no column 'prise'"), "{error}");
    assert!(engine.scan(Scan { table: "sales".to_owned(), ..Scan::default() }).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_write_are_refused_with_what_to_use() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    for query in [
        "insert into shop.sales select * from shop.sales",
        "explain analyze insert into shop.sales select * from shop.sales",
        "delete from shop.sales",
        "update shop.sales set id = 1",
        "create table shop.x (a int)",
        "create table shop.x as select 1",
        "create external table x stored as csv location 'x.csv'",
        "copy shop.sales to 'x.csv'",
        "drop table shop.sales",
        "truncate table shop.sales",
        "set datafusion.execution.batch_size = 1",
        "select * into x from shop.sales",
    ] {
        let (kind, text) = refused(&engine, query).await;
        assert!(kind == ErrorKind::Unsupported && text.contains("only reads: "), "{query}: {kind:?} {text}");
    }
    assert_eq!(lines(&engine, "select count(*) from shop.sales").await, ["6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_can_be_listed_and_described() {
    let shop = Shop::open().await;
    let engine = engine(&shop);
    assert_eq!(lines(&engine, "show tables").await, ["shop empty", "shop people", "shop sales"]);
    let columns = lines(&engine, "describe shop.people").await;
    assert!(columns.len() == 3 && columns[0].starts_with("id "), "{columns:?}");
    assert_eq!(
        lines(&engine, "select sum(value) from generate_series(1, 4)").await,
        ["10"],
        "a table function is not a table"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_beyond_the_limit_is_an_error_of_its_own_kind() {
    let shop = Shop::open().await;
    let engine =
        Engine::new(shop.lake.clone(), QueryOptions { memory: Some(1 << 16), ..QueryOptions::default() }).unwrap();
    let query = "select a.value, count(*) from generate_series(1, 200000) a join generate_series(1, 200000) b on a.value = b.value group by a.value";
    let (kind, text) = refused(&engine, query).await;
    assert_eq!(kind, ErrorKind::Memory, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_is_read_in_pieces_each_row_once() {
    let shop = Shop::open().await;
    let rows = shop.append_large("shop.empty").await;
    let engine =
        Engine::new(shop.lake.clone(), QueryOptions { partitions: Some(4), ..QueryOptions::default() }).unwrap();
    let plan = explain(&engine, "select sum(id) from shop.empty").await;
    assert!(plan.contains("files=1, partitions=2"), "{plan}");
    let expected = [format!("{rows} {} {rows}", rows * (rows - 1) / 2)];
    assert_eq!(lines(&engine, "select count(noise), sum(id), count(distinct id) from shop.empty").await, expected);
}
