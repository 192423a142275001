"""Tables that Frazil wrote, read by PyIceberg, DuckDB, Polars and Spark: the same rows, also after pruning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from pyiceberg import expressions
from pyiceberg.table import Table

import frazil
from tests.interop import events, everything, places
from tests.interop.places import Place
from tests.servers import Kafka, Spark

# Their constructors are declared as pydantic sees them.
ex: Any = expressions
ROWS = 60
# Iceberg's Spark has no type for the time of day.
NOT_SPARK = ("clock",)
TRANSFORMS = [
    "flag",
    "small",
    "dec9",
    "day",
    "ts",
    "word",
    "five",
    "raw",
    "bucket(5, small)",
    "bucket(5, big)",
    "bucket(5, dec9)",
    "bucket(5, dec38)",
    "bucket(5, day)",
    "bucket(5, clock)",
    "bucket(5, ts)",
    "bucket(5, tz)",
    "bucket(5, word)",
    "bucket(5, uid)",
    "bucket(5, five)",
    "bucket(5, raw)",
    "truncate(4, small)",
    "truncate(1000, big)",
    "truncate(500, dec9)",
    "truncate(2, word)",
    "truncate(3, raw)",
    "year(day)",
    "month(day)",
    "day(day)",
    "year(ts)",
    "month(tz)",
    "day(ts)",
    "hour(tz)",
    "void(small)",
]


@dataclass
class Lake:
    """A lake with tables of all types: ``all``, ``sorted``, ``spark`` and one for each of `TRANSFORMS`."""

    place: Place
    lake: frazil.Lake

    def table(self, name: str) -> Table:
        return self.place.other().load_table(f"types.{name}")

    def files(self, name: str) -> list[str]:
        """The data files, as PyIceberg plans them."""
        return [task.file.file_path.removeprefix("file://") for task in self.table(name).scan().plan_files()]


def transform_table(index: int) -> str:
    """The table that is partitioned by one of `TRANSFORMS`."""
    return f"by_{index}"


def source_of(transform: str) -> str:
    """The column that a transform is about."""
    return transform.split("(")[-1].split(",")[-1].strip(" )")


@pytest.fixture(scope="module")
def lake(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    directory = tmp_path_factory.mktemp("types")
    place = places.sqlite(directory, "types")
    opened = place.connect()
    topic = kafka.create_topic("interop-types", 1)
    with frazil.SchemaRegistry() as registry:
        schema_id = registry.register(f"{topic}-value", events.text(everything.SCHEMA))
        values = events.framed(schema_id, everything.SCHEMA, everything.rows(ROWS))
        events.produce(kafka.bootstrap, topic, values)
        rows = opened.read(frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url))
        for_spark = rows.select("id", *(name for name in everything.TYPES if name not in NOT_SPARK))
        jobs = [
            rows.job("types.all"),
            rows.job("types.v3", format_version=3),
            rows.job("types.sorted", sort_by=["word desc", "small", "id"]),
            for_spark.job("types.spark"),
        ]
        for index, transform in enumerate(TRANSFORMS):
            chosen = rows if source_of(transform) in NOT_SPARK else for_spark
            jobs.append(chosen.job(f"types.{transform_table(index)}", partition_by=[transform]))
        for batch in (jobs[at : at + 8] for at in range(0, len(jobs), 8)):
            handles = [frazil.start(job) for job in batch]
            for handle in handles:
                status = handle.wait(120)
                assert status is not None
                assert (status.state, status.rows, status.dead_letters) == ("finished", ROWS, 0), str(status)
    return Lake(place, opened)


@pytest.fixture(scope="module")
def spark_lake(lake: Lake, spark_session: Spark) -> Lake:
    lake.place.register(spark_session)
    return lake


def test_partitions_by_a_uuid_itself_are_refused(lake: Lake, kafka: Kafka) -> None:
    # Iceberg's Rust crate cannot write them into a manifest; nothing may be left half made.
    source = frazil.kafka("interop-types", bootstrap=kafka.bootstrap, format="json", schema={"uid": "uuid"})
    with pytest.raises(frazil.UnsupportedError, match=r"sink\.partition_by\[0\].*bucket\(16, uid\)"):
        lake.lake.read(source).write("types.by_uid", partition_by=["uid"], progress=False)
    assert "types.by_uid" not in lake.lake.tables()


@pytest.mark.parametrize("name", ["all", "v3"])
def test_frazil_reads_every_type(lake: Lake, name: str) -> None:
    found = lake.lake.read(f"types.{name}").to_arrow().to_pylist()
    assert everything.comparable(found) == everything.expected(ROWS)


@pytest.mark.parametrize("name", ["all", "v3"])
def test_pyiceberg_reads_every_type(lake: Lake, name: str) -> None:
    found = everything.comparable(lake.table(name).scan().to_arrow().to_pylist())
    wanted = everything.expected(ROWS)
    for record in (*found, *wanted):
        # PyIceberg 0.12 makes an empty list of a null list of structs; DuckDB, Polars and Spark see the null.
        record["steps"] = record["steps"] or []
    assert found == wanted


def test_pyiceberg_sees_the_types_that_were_meant(lake: Lake) -> None:
    found = {field.name: (str(field.field_type), field.required) for field in lake.table("all").schema().fields}
    simple = {name: kind for name, (kind, _) in found.items() if name not in ("tags", "attrs", "place", "steps")}
    assert simple == {
        "id": "long",
        "flag": "boolean",
        "small": "int",
        "big": "long",
        "single": "float",
        "twice": "double",
        "dec9": "decimal(9, 2)",
        "dec18": "decimal(18, 4)",
        "dec38": "decimal(38, 10)",
        "day": "date",
        "clock": "time",
        "ts": "timestamp",
        "tz": "timestamptz",
        "word": "string",
        "uid": "uuid",
        "five": "fixed[5]",
        "raw": "binary",
    }
    assert [name for name, (_, required) in found.items() if required] == ["id"]


def test_duckdb_reads_every_type(lake: Lake) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        read = connection.execute("select * from read_parquet(?)", [lake.files("all")])
        found: pa.Table = read.to_arrow_table()
    assert everything.comparable(found.to_pylist()) == everything.expected(ROWS)


def test_polars_reads_every_type(lake: Lake) -> None:
    frame = pl.scan_iceberg(lake.table("all")).collect()
    assert everything.comparable(frame.to_dicts()) == everything.expected(ROWS)


def test_spark_reads_every_type(spark_lake: Lake, spark_session: Spark) -> None:
    # PySpark cannot hand on a null struct that has a required field: it goes in pieces.
    pieces = "place is null as nowhere, place.lat as lat, place.label as label"
    columns = ", ".join(["id", *(name for name in everything.TYPES if name not in (*NOT_SPARK, "place"))])
    table = f"{spark_lake.place.catalog_name}.types.spark"
    found = spark_session.sql(f"select {columns}, {pieces} from {table}").to_pylist()
    for record in found:
        place = {"lat": record.pop("lat"), "label": record.pop("label")}
        record["place"] = None if record.pop("nowhere") else place
    assert everything.comparable(found) == everything.expected(ROWS, without=NOT_SPARK)


def test_sorted_files_are_in_their_order(lake: Lake) -> None:
    order = lake.table("sorted").sort_order()
    assert [(f.source_id, f.direction.name, f.null_order.name) for f in order.fields] == [
        (lake.table("sorted").schema().find_field("word").field_id, "DESC", "NULLS_LAST"),
        (lake.table("sorted").schema().find_field("small").field_id, "ASC", "NULLS_FIRST"),
        (lake.table("sorted").schema().find_field("id").field_id, "ASC", "NULLS_FIRST"),
    ]
    files = lake.files("sorted")
    with duckdb.connect() as connection:
        for file in files:
            query = "select word, small, id from read_parquet(?, file_row_number = true) order by file_row_number"
            found = connection.execute(query, [file]).fetchall()
            # UTF-8 sorts by its bytes as by its code points.
            by_rest = sorted(found, key=lambda r: (r[1] is not None, r[1] or 0, r[2]))
            nulls = [r for r in by_rest if r[0] is None]
            assert found == sorted((r for r in by_rest if r[0] is not None), key=lambda r: r[0], reverse=True) + nulls
    assert sum(task.file.record_count for task in lake.table("sorted").scan().plan_files()) == ROWS
    (entry,) = {e.sort_order_id for e in (task.file for task in lake.table("sorted").scan().plan_files())}
    assert entry == order.order_id


def literal(value: Any) -> Any:
    """A value as PyIceberg's expressions take it."""
    return value.isoformat() if hasattr(value, "isoformat") else value


@pytest.mark.parametrize("index", range(len(TRANSFORMS)), ids=TRANSFORMS)
def test_pyiceberg_finds_rows_by_their_partitions(lake: Lake, index: int) -> None:
    table, column = lake.table(transform_table(index)), source_of(TRANSFORMS[index])
    values = {row["id"]: row[column] for row in everything.rows(ROWS)}

    def ids(condition: Any) -> list[int]:
        found: list[int] = table.scan(row_filter=condition, selected_fields=("id",)).to_arrow()["id"].to_pylist()
        return sorted(found)

    assert ids(ex.IsNull(column)) == [n for n, value in values.items() if value is None]
    for chosen in (values[4], values[7], values[9], values[40]):
        if chosen is None:
            continue
        assert ids(ex.EqualTo(column, literal(chosen))) == [n for n, value in values.items() if value == chosen]
        if column in ("flag", "uid"):
            continue  # neither is ordered
        below = [n for n, value in values.items() if value is not None and value < chosen]
        assert ids(ex.LessThan(column, literal(chosen))) == below
        above = [n for n, value in values.items() if value is not None and value >= chosen]
        assert ids(ex.GreaterThanOrEqual(column, literal(chosen))) == above


def test_partitions_are_pruned(lake: Lake) -> None:
    for index, transform in enumerate(TRANSFORMS):
        if transform.startswith("void"):
            continue
        column = source_of(transform)
        table = lake.table(transform_table(index))
        chosen = everything.row(7)[column]
        planned = list(table.scan(row_filter=ex.EqualTo(column, literal(chosen))).plan_files())
        assert 0 < len(planned) < len(list(table.scan().plan_files())), transform


def test_spark_finds_rows_by_their_partitions(spark_lake: Lake, spark_session: Spark) -> None:
    catalog = spark_lake.place.catalog_name
    casts = {
        "day": "date '{}'",
        "ts": "timestamp_ntz '{}'",
        "tz": "timestamp '{}'",
        "word": "'{}'",
        "uid": "'{}'",
        "dec9": "{}",
        "dec38": "{}",
    }
    queries, wanted = [], []
    for index, transform in enumerate(TRANSFORMS):
        column = source_of(transform)
        # Iceberg's Java (1.12) fails on fixed-length values in a manifest that PyIceberg and fastavro read.
        if column in NOT_SPARK or transform == "five":
            continue
        values = {row["id"]: row[column] for row in everything.rows(ROWS)}
        chosen = values[7]
        shown = str(chosen).replace("\\", "\\\\").replace("'", "\\'")
        text = f"x'{chosen.hex()}'" if isinstance(chosen, bytes) else casts.get(column, "{}").format(shown)
        table = f"{catalog}.types.{transform_table(index)}"
        queries.append(f"select {index} as t, id from {table} where {column} = {text}")
        wanted += [(index, n) for n, value in values.items() if value == chosen]
        queries.append(f"select {index + 1000} as t, id from {table} where {column} is null")
        wanted += [(index + 1000, n) for n, value in values.items() if value is None]
    found = spark_session.sql(" union all ".join(queries)).to_pylist()
    assert sorted((row["t"], row["id"]) for row in found) == sorted(wanted)


LONG = ["aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaab", "ÿ" * 20, "\U0010ffff" * 20, "\U0010fffe" * 17, "zz", "日" * 30]
"""Longer than the 16 characters that bounds keep; the highest characters cannot be counted up."""


@pytest.fixture(scope="module")
def long_strings(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A table with one file for each of `LONG`, told apart by their bounds alone."""
    place = places.sqlite(tmp_path_factory.mktemp("long"), "long")
    topic = kafka.create_topic("interop-long", 1)
    schema = {"id": "long", "word": "string", "raw": "binary"}
    rows = place.connect().read(frazil.kafka(topic, bootstrap=kafka.bootstrap, format="json", schema=schema))
    for number, word in enumerate(LONG):
        raw = (b"\xff" * 20 if number == 0 else word.encode()).hex()
        events.produce(kafka.bootstrap, topic, [json.dumps({"id": number, "word": word, "raw": raw}).encode()])
        assert rows.write("long.t", name="long", progress=False).rows == 1
    return place


@pytest.mark.parametrize("number", range(len(LONG)))
def test_truncated_bounds_keep_rows(long_strings: Place, number: int) -> None:
    table = long_strings.other().load_table("long.t")
    word = LONG[number]
    cases: list[tuple[Any, list[int]]] = [
        (ex.EqualTo("word", word), [n for n, w in enumerate(LONG) if w == word]),
        (ex.GreaterThanOrEqual("word", word), [n for n, w in enumerate(LONG) if w >= word]),
        (ex.GreaterThan("word", word), [n for n, w in enumerate(LONG) if w > word]),
        (ex.LessThan("word", word), [n for n, w in enumerate(LONG) if w < word]),
        (ex.LessThanOrEqual("word", word), [n for n, w in enumerate(LONG) if w <= word]),
        (ex.StartsWith("word", word[:18]), [n for n, w in enumerate(LONG) if w.startswith(word[:18])]),
        (ex.EqualTo("raw", b"\xff" * 20), [0]),
    ]
    for condition, wanted in cases:
        found = table.scan(row_filter=condition).to_arrow()["id"].to_pylist()
        assert sorted(found) == wanted, condition


def test_bounds_prune_files(long_strings: Place) -> None:
    table = long_strings.other().load_table("long.t")
    assert len(list(table.scan().plan_files())) == len(LONG)
    assert len(list(table.scan(row_filter="word = 'zz'").plan_files())) == 1
    # A null bound would keep every file.
    assert len(list(table.scan(row_filter="id = 3").plan_files())) == 1


def test_spark_finds_rows_behind_truncated_bounds(long_strings: Place, spark_session: Spark) -> None:
    catalog = long_strings.register(spark_session)
    for number, word in enumerate(LONG):
        found = spark_session.sql(f"select id from {catalog}.long.t where word >= '{word}'")
        # Spark compares as UTF-8 bytes, which is the order of code points.
        assert sorted(found["id"].to_pylist()) == [n for n, w in enumerate(LONG) if w >= word], number


def test_frazil_hands_rows_on_to_every_engine(lake: Lake) -> None:
    rows = lake.lake.read("types.all").where("small is not null").select("id", "small", "word", "tz")
    arrow: pa.Table = rows.to_arrow()
    wanted = sorted(row["id"] for row in everything.rows(ROWS) if row["small"] is not None)
    assert sorted(arrow["id"].to_pylist()) == wanted
    assert isinstance(arrow, pa.Table)
    assert sorted(rows.to_polars()["id"].to_list()) == wanted
    assert sorted(rows.to_pandas()["id"].tolist()) == wanted
    assert sorted(row[0] for row in rows.to_duckdb().select("id").fetchall()) == wanted
