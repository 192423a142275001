//! Each clause, each refusal, each row on its own, and what must not be copied.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StringViewArray, UInt64Array,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, Schema, TimeUnit};
use frazil_model::{ErrorKind, Stage, Transform};

use crate::{Transformed, Transformer};

fn sales() -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("userId", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef, false),
        ("price", Arc::new(Float64Array::from(vec![Some(9.5), Some(-1.0), None, Some(20.0)])) as ArrayRef, true),
        ("text", Arc::new(StringArray::from(vec!["7", "x", "9", "11"])) as ArrayRef, false),
        ("n", Arc::new(Int32Array::from(vec![2, 0, 5, i32::MAX])) as ArrayRef, false),
    ])
    .unwrap()
}

fn sql(text: &str) -> Transform {
    Transform { sql: Some(text.to_owned()), ..Transform::default() }
}

fn filter(text: &str) -> Transform {
    Transform { filter: Some(text.to_owned()), ..Transform::default() }
}

fn run(transform: &Transform) -> Transformed {
    let batch = sales();
    let transformer = Transformer::compile(transform, &batch.schema()).unwrap();
    let out = transformer.apply(&batch).unwrap();
    assert_eq!(out.batch.schema(), transformer.schema());
    let passed = out.rows.as_ref().map_or(batch.num_rows(), Vec::len);
    assert_eq!(out.batch.num_rows(), passed);
    assert_eq!(passed + out.filtered as usize + out.rejected.len(), batch.num_rows(), "every row is accounted for");
    out
}

fn complaint(transform: &Transform) -> String {
    let error = Transformer::compile(transform, &sales().schema()).err().expect("must be refused");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn longs(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect()
}

/// Whether two columns stand in the same memory.
fn same_memory(a: &ArrayRef, b: &ArrayRef) -> bool {
    a.to_data().buffers().iter().zip(b.to_data().buffers()).all(|(a, b)| a.as_ptr() == b.as_ptr() && a.len() == b.len())
}

#[test]
fn nothing_to_do_shares_every_column() {
    for transform in [
        Transform::default(),
        sql("select * from input"),
        Transform { select: vec!["*".to_owned()], ..Transform::default() },
    ] {
        let batch = sales();
        let transformer = Transformer::compile(&transform, &batch.schema()).unwrap();
        assert!(transformer.is_identity(), "{transform:?}");
        let out = transformer.apply(&batch).unwrap();
        assert!(out.rows.is_none() && out.batch == batch);
        assert!(Arc::ptr_eq(out.batch.schema_ref(), batch.schema_ref()));
        assert!(batch.columns().iter().zip(out.batch.columns()).all(|(a, b)| Arc::ptr_eq(a, b)));
    }
}

#[test]
fn choosing_and_renaming_columns_copies_nothing() {
    let batch = sales();
    for transform in [
        sql("select text, userId as user_id from input"),
        Transform { select: vec!["text".to_owned(), "userId as user_id".to_owned()], ..Transform::default() },
        sql("select text, userId as user_id from input where userId > 0"),
    ] {
        let out = Transformer::compile(&transform, &batch.schema()).unwrap().apply(&batch).unwrap();
        assert_eq!(names(&out.batch), ["text", "user_id"]);
        assert!(same_memory(out.batch.column(0), batch.column(2)) && same_memory(out.batch.column(1), batch.column(0)));
        assert!(out.rows.is_none(), "all rows, in order");
    }
}

#[test]
fn where_keeps_the_rows_for_which_it_is_true() {
    let out = run(&filter("price > 0"));
    assert_eq!(out.rows, Some(vec![0, 3]));
    assert_eq!(out.filtered, 2, "a negative price and a null");
    assert_eq!(longs(&out.batch, "userId"), [Some(1), Some(4)]);
    let none = run(&filter("userId > 2 and false"));
    assert_eq!((none.batch.num_rows(), none.filtered, none.batch.num_columns()), (0, 4, 4));
}

#[test]
fn sql_filters_computes_and_names() {
    let out = run(&sql(
        "select userId, price * 2 as twice, cast(n as bigint), upper(text) as shout from input where price > 0",
    ));
    assert_eq!(names(&out.batch), ["userId", "twice", "n", "shout"]);
    assert_eq!(out.batch.column(1).as_primitive::<Float64Type>().values(), &[19.0, 40.0]);
    assert_eq!(longs(&out.batch, "n"), [Some(2), Some(i64::from(i32::MAX))]);
    let nested = run(&sql(
        "with a as (select userId as id, price from input where price is not null) select id + 1 as id from a where id > 1",
    ));
    assert_eq!((longs(&nested.batch, "id"), nested.rows), (vec![Some(3), Some(5)], Some(vec![1, 3])));
    assert_eq!(run(&sql("select 1 as one from input where price > 0")).batch.num_rows(), 2);
}

#[test]
fn with_columns_replaces_in_place_and_appends_and_where_sees_both() {
    let mut transform = filter("twice > 10 and userId > 10");
    transform.with_columns.insert("userId".to_owned(), "userId * 10".to_owned());
    transform.with_columns.insert("twice".to_owned(), "userId * 2 + 10".to_owned());
    transform.select = vec!["twice".to_owned(), "userId".to_owned()];
    let out = run(&transform);
    assert_eq!(longs(&out.batch, "userId"), [Some(20), Some(30), Some(40)]);
    assert_eq!(longs(&out.batch, "twice"), [Some(14), Some(16), Some(18)], "the input's userId, not the new one");
    transform.select.clear();
    assert_eq!(names(&run(&transform).batch), ["userId", "price", "text", "n", "twice"]);
}

#[test]
fn a_failing_row_is_rejected_alone_with_the_reason() {
    let out = run(&sql("select userId, cast(text as int) as number from input"));
    assert_eq!(out.rows, Some(vec![0, 2, 3]));
    assert_eq!(out.batch.column(1).as_primitive::<Int32Type>().values(), &[7, 9, 11]);
    let [rejected] = &out.rejected[..] else { panic!("{:?}", out.rejected) };
    assert_eq!((rejected.row, rejected.stage), (1, Stage::Transform));
    assert_eq!(rejected.reason, "column 'number': Cannot cast string 'x' to value of Int32 type");
    let out = run(&sql("select 10 / n as q from input"));
    assert_eq!(
        out.rejected.iter().map(|bad| (bad.row, bad.reason.as_str())).collect::<Vec<_>>(),
        [(1, "column 'q': division by zero")]
    );
    let out = run(&sql("select n + n as twice from input"));
    assert_eq!(out.rows, Some(vec![0, 1, 2]), "an overflow is a failure, never a wrapped number");
    assert!(out.rejected[0].reason.contains("verflow"), "{}", out.rejected[0].reason);
}

#[test]
fn rows_are_counted_in_the_input_whatever_happened_before() {
    let mut transform = filter("cast(text as int) > 8");
    transform.with_columns.insert("q".to_owned(), "100 / (n - 5)".to_owned());
    let out = run(&transform);
    assert_eq!(
        out.rejected.iter().map(|bad| bad.row).collect::<Vec<_>>(),
        [1, 2],
        "'x' in where, 5 - 5 in the new column"
    );
    assert_eq!((out.rows, out.filtered), (Some(vec![3]), 1));
}

#[test]
fn a_guard_in_front_of_a_division_holds() {
    for text in ["n <> 0 and 10 / n > 3", "case when n = 0 then false else 10 / n > 3 end"] {
        let out = run(&filter(text));
        assert_eq!((out.rows, out.filtered, out.rejected.len()), (Some(vec![0]), 3, 0), "{text}");
    }
}

#[test]
fn many_failures_in_a_large_batch_are_all_found() {
    let n = 8192;
    let text: StringArray =
        (0..n).map(|row| Some(if row % 1000 == 7 { "bad".to_owned() } else { row.to_string() })).collect();
    let batch = RecordBatch::try_from_iter([("t", Arc::new(text) as ArrayRef)]).unwrap();
    let out = Transformer::compile(&sql("select cast(t as bigint) as v from input"), &batch.schema())
        .unwrap()
        .apply(&batch)
        .unwrap();
    assert_eq!(out.rejected.iter().map(|bad| bad.row).collect::<Vec<_>>(), (7..n).step_by(1000).collect::<Vec<_>>());
    let rows = out.rows.unwrap();
    assert_eq!(rows.len() + out.rejected.len(), n);
    assert!(longs(&out.batch, "v").iter().zip(&rows).all(|(value, row)| *value == Some(i64::from(*row))));
    let all: StringArray = (0..n).map(|_| Some("bad")).collect();
    let batch = RecordBatch::try_from_iter([("t", Arc::new(all) as ArrayRef)]).unwrap();
    let out = Transformer::compile(&sql("select cast(t as bigint) as v from input"), &batch.schema())
        .unwrap()
        .apply(&batch)
        .unwrap();
    assert_eq!((out.batch.num_rows(), out.rejected.len()), (0, n));
}

#[test]
fn unknown_names_are_answered_with_the_path_and_the_nearest() {
    assert_eq!(
        complaint(&filter("prise > 0")),
        "transform.where: no column 'prise', did you mean 'price'? columns: userId, price, text, n"
    );
    assert_eq!(
        complaint(&sql("select userid from input")),
        "transform.sql: no column 'userid', did you mean 'userId'? columns: userId, price, text, n"
    );
    assert_eq!(
        complaint(&sql("select zzzzzz from input")),
        "transform.sql: no column 'zzzzzz'; columns: userId, price, text, n"
    );
    let select = Transform { select: vec!["n".to_owned(), "txt".to_owned()], ..Transform::default() };
    assert!(complaint(&select).starts_with("transform.select[1]: no column 'txt', did you mean 'text'?"));
    let mut with = Transform::default();
    with.with_columns.insert("x".to_owned(), "prize".to_owned());
    assert!(complaint(&with).starts_with("transform.with_columns.x: no column 'prize', did you mean 'price'?"));
    assert_eq!(
        complaint(&sql("select n from inptu")),
        "transform.sql: no table 'inptu', did you mean 'input'? the only table here is 'input'"
    );
    let text = complaint(&filter("uper(text) = 'X'"));
    assert!(text.starts_with("transform.where: ") && text.contains("uper"), "{text}");
}

#[test]
fn mistakes_in_sql_and_types_name_their_place() {
    assert!(complaint(&sql("selct n from input")).starts_with("transform.sql: "));
    assert!(complaint(&filter("n >")).starts_with("transform.where: this is not SQL: "));
    assert!(complaint(&filter("n + 1")).starts_with("transform.where: "), "not a condition");
    assert!(complaint(&sql("select cast('abc' as int) as x from input")).contains("abc"), "no row could pass");
    assert_eq!(complaint(&sql("select n, userId as n from input")).split(':').next(), Some("transform.sql"),);
    let twice = Transform { select: vec!["n".to_owned(), "userId as n".to_owned()], ..Transform::default() };
    assert_eq!(
        complaint(&twice),
        "transform.select: two columns have the name 'n': give one of them another name with 'as'"
    );
    assert!(complaint(&sql("select n + 1 from input")).contains("has no name: give it one with 'as'"));
    assert!(complaint(&sql("select null as x from input")).contains("'x' is always null"));
    assert!(complaint(&sql("select interval '1 day' as x from input")).contains("Iceberg does not have"));
}

#[test]
fn what_is_not_row_by_row_is_refused() {
    for text in [
        "select sum(n) as s from input",
        "select text, count(*) as c from input group by text",
        "select distinct n from input",
        "select n from input order by n",
        "select n from input limit 3",
        "select a.n from input a join input b on a.n = b.n",
        "select n from input union all select n from input",
        "select row_number() over (order by n) as r from input",
        "select n from input where n in (select n from input)",
        "select unnest(make_array(n, n)) as x from input",
    ] {
        let text = complaint(&sql(text));
        assert!(
            text.starts_with("transform.sql: ") && text.contains("row by row; aggregate afterwards with lake.sql(…)"),
            "{text}"
        );
    }
    assert!(complaint(&filter("sum(n) > 3")).starts_with("transform.where: the aggregate sum()"));
    for text in
        ["insert into input values (1)", "create table x (a int)", "drop table input", "explain select n from input"]
    {
        assert!(complaint(&sql(text)).contains("expected one 'select … from input …'"), "{text}");
    }
    assert!(complaint(&sql("select 1 as x")).contains("from input"));
    assert!(complaint(&sql("select n from input; select n from input")).starts_with("transform.sql: "));
}

#[test]
fn functions_that_answer_differently_each_time_are_refused() {
    for text in ["now()", "current_date", "current_timestamp", "random()", "uuid()"] {
        let text = complaint(&sql(&format!("select {text} as x from input")));
        assert!(text.contains("gives another answer each time"), "{text}");
    }
}

#[test]
fn what_comes_out_are_types_of_iceberg() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([
        ("view", Arc::new(StringViewArray::from(vec!["p", "q"])) as ArrayRef),
        ("dict", Arc::new(dictionary) as ArrayRef),
        ("big", Arc::new(UInt64Array::from(vec![1, u64::MAX])) as ArrayRef),
        ("plain", Arc::new(Int64Array::from(vec![5, 6])) as ArrayRef),
    ])
    .unwrap();
    let transformer = Transformer::compile(&Transform::default(), &batch.schema()).unwrap();
    let types: Vec<DataType> = transformer.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Utf8, DataType::Utf8, DataType::Int64, DataType::Int64]);
    let out = transformer.apply(&batch).unwrap();
    assert_eq!(out.rows, Some(vec![0]), "2^64 - 1 fits no long: that row is rejected");
    assert_eq!(out.batch.column(1).as_string::<i32>().value(0), "a");
    assert!(out.rejected[0].reason.starts_with("column 'big': "));
    let time = sql("select cast(userId as timestamp(3)) as ts from input");
    let schema = Transformer::compile(&time, &sales().schema()).unwrap().schema();
    assert_eq!(*schema.field(0).data_type(), DataType::Timestamp(TimeUnit::Microsecond, None));
}

#[test]
fn a_batch_with_other_columns_is_refused() {
    let transformer = Transformer::compile(&filter("n > 0"), &sales().schema()).unwrap();
    let other = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert_eq!(transformer.apply(&other).unwrap_err().kind(), ErrorKind::Schema);
    assert_eq!(
        transformer.apply(&sales()).unwrap().rows,
        Some(vec![0, 2, 3]),
        "the same columns in another schema object are fine"
    );
}
