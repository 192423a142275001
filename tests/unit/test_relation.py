"""Relations and streams are values; their words keep their meaning or refuse."""

import dataclasses
from datetime import UTC, date, datetime
from typing import Any

import pytest

import frazil
from frazil import ConfigError, UnsupportedError


@pytest.fixture
def events() -> frazil.KafkaSource:
    return frazil.kafka("events", bootstrap="localhost:9092", format="raw")


def test_each_word_returns_a_new_object_and_leaves_the_old_one(lake: frazil.Lake, events: frazil.KafkaSource) -> None:
    for first in (lake.read(events), lake.read_stream(events), lake.read("a.b")):
        before = repr(first)
        second = first.with_columns(n="1").where("n = 1").select("n")
        assert second is not first
        assert type(second) is type(first)
        assert repr(first) == before
        with pytest.raises(dataclasses.FrozenInstanceError):
            first._lake = lake  # type: ignore[misc]


def test_a_source_is_not_changed_by_what_it_was_made_from(lake: frazil.Lake) -> None:
    properties = {"a": "1"}
    source = frazil.kafka("t", bootstrap="x:1", format="raw", properties=properties)
    properties["a"] = "2"
    source.document()["source"]["kafka"]["properties"]["a"] = "3"
    lake.read(source).job("a.b")["source"]["kafka"]["properties"]["a"] = "4"
    assert source.document()["source"]["kafka"]["properties"] == {"a": "1"}


def test_steps_in_an_order_that_the_document_cannot_say_are_refused(
    lake: frazil.Lake, events: frazil.KafkaSource
) -> None:
    stream = lake.read_stream(events)
    with pytest.raises(ConfigError, match="where: stands behind select"):
        stream.select("a").where("a > 1")
    with pytest.raises(ConfigError, match="with_columns: stands behind where"):
        stream.where("a > 1").with_columns(a="a * 2")
    with pytest.raises(ConfigError, match="uses or replaces 'b' of an earlier"):
        stream.with_columns(b="a + 1").with_columns(c="B * 2")
    with pytest.raises(ConfigError, match="select: is given twice"):
        stream.select("a").select("b")
    with pytest.raises(ConfigError, match="sql: says everything"):
        stream.where("a > 1").sql("select * from input")
    with pytest.raises(ConfigError, match="where: cannot follow sql"):
        stream.sql("select * from input").where("a > 1")
    with pytest.raises(ConfigError, match="expected SQL text, found none"):
        stream.where(" ")
    with pytest.raises(ConfigError, match="expected SQL text, found int"):
        stream.where(1)  # type: ignore[arg-type]


def test_independent_columns_may_be_added_one_by_one(lake: frazil.Lake, events: frazil.KafkaSource) -> None:
    stream = lake.read_stream(events).with_columns(b="a + 1").with_columns(bb="a * 2")
    assert stream.job("a.b", every="1s")["transform"] == {"with_columns": {"b": "a + 1", "bb": "a * 2"}}


def test_limit_is_for_tables(lake: frazil.Lake, events: frazil.KafkaSource) -> None:
    with pytest.raises(UnsupportedError, match="limit works on tables"):
        lake.read(events).limit(5)
    assert lake.read("a.b").limit(5).limit(9)._limit == 5
    with pytest.raises(ConfigError, match="whole number"):
        lake.read("a.b").limit(-1)
    with pytest.raises(ConfigError, match="behind limit"):
        lake.read("a.b").limit(5).where("a > 1")


def test_a_table_is_not_a_source_of_jobs(lake: frazil.Lake) -> None:
    with pytest.raises(UnsupportedError, match="works on Kafka sources"):
        lake.read("a.b").write("c.d", progress=False)
    with pytest.raises(ConfigError, match="expected a source"):
        lake.read_stream("a.b")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a table's name"):
        lake.read(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("as_of", "found"),
    [
        (42, {"snapshot_id": 42}),
        ("7051579355316190", {"snapshot_id": 7051579355316190}),
        ("2026-11-01", {"timestamp_ms": 1793491200000}),
        (date(2026, 11, 1), {"timestamp_ms": 1793491200000}),
        (datetime(2026, 11, 1), {"timestamp_ms": 1793491200000}),
        (datetime(2026, 11, 1, 0, 0, 0, 5000, tzinfo=UTC), {"timestamp_ms": 1793491200005}),
        ("2026-11-01T01:00:00+01:00", {"timestamp_ms": 1793491200000}),
        ("audit-branch", {"ref": "audit-branch"}),
    ],
)
def test_as_of_is_a_snapshot_a_time_or_a_name(lake: frazil.Lake, as_of: Any, found: dict[str, Any]) -> None:
    scan: Any = lake.read("a.b", as_of=as_of)._from
    assert {name: getattr(scan, name) for name in ("snapshot_id", "timestamp_ms", "ref")} == {
        "snapshot_id": None,
        "timestamp_ms": None,
        "ref": None,
        **found,
    }


def test_as_of_is_not_for_kafka(lake: frazil.Lake, events: frazil.KafkaSource) -> None:
    with pytest.raises(ConfigError, match="as_of: is for tables"):
        lake.read(events, as_of=1)
    with pytest.raises(ConfigError, match="as_of: expected"):
        lake.read("a.b", as_of=True)


def test_sql_over_a_query_calls_it_input(lake: frazil.Lake) -> None:
    rows = lake.sql("select 1 as a union all select 2 as a;")
    assert rows.sql("select sum(a) as s from input").to_arrow().to_pydict() == {"s": [3]}
    nested = rows.sql("with more as (select a + 1 as a from input) select max(a) as m from more")
    assert nested.to_arrow().to_pydict() == {"m": [3]}
    assert rows.where("a > 1").with_columns(b="a * 10").select("b").to_arrow().to_pydict() == {"b": [20]}
    assert rows.limit(1).count() == 1


def test_repr_says_what_was_written(lake: frazil.Lake, events: frazil.KafkaSource) -> None:
    shown = repr(lake.read_stream(events).where("a > 1").select("a", "b"))
    assert shown.startswith("read_stream(kafka('events', bootstrap='localhost:9092'")
    assert shown.endswith(".where('a > 1').select('a', 'b')")
    assert repr(lake.read("a.b", as_of="2026-11-01").limit(3)) == "read('a.b', as_of='2026-11-01').limit(3)"
