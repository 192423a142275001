"""A table that a job has written: its rows, its description, its audit, its past."""

import json
from typing import Any

import pytest

import frazil
from frazil import _core
from frazil.cli import main
from frazil.table import AuditReport

TABLE = "a.b"


@pytest.fixture
def written(lake: frazil.Lake, broker: frazil.EmbeddedBroker) -> frazil.Lake:
    """A lake with a table of four rows from one job, two commits, and one dead record that was dropped."""
    source = frazil.kafka(
        "t", bootstrap=broker.bootstrap, format="json", schema={"id": "long", "Name": "string"}, metadata=["offset"]
    )
    write: dict[str, Any] = {"name": "j", "partition_by": "bucket(2, id)", "sort_by": "id", "max_bad": 1}
    lake.read(source).write(TABLE, progress=False, **write)
    producer = _core.Producer(broker.bootstrap)
    producer.send("t", b'{"id": 3, "Name": "<b>"}')
    producer.send("t", b"not json")
    producer.flush()
    del producer
    done = lake.read(source).write(TABLE, progress=False, **write)
    assert (done.records, done.rows, done.dead_letters, done.commits) == (2, 1, 1, 1)
    return lake


def test_rows_are_read_in_every_way(written: frazil.Lake) -> None:
    rows = written.read(TABLE)
    expected = [{"id": n, "Name": None, "kafka_offset": n} for n in range(3)]
    expected.append({"id": 3, "Name": "<b>", "kafka_offset": 3})
    assert sorted(rows.to_arrow().to_pylist(), key=lambda row: row["id"]) == expected
    assert rows.count() == 4
    assert rows.where("id > 0").where("id < 3").select("id * 2 as twice", "id").count() == 2
    changed = rows.with_columns(twice="id * 2", id="id + 1").where("id = 4").select("id", "twice")
    assert changed.to_arrow().to_pylist() == [{"id": 4, "twice": 6}]
    assert rows.limit(2).to_arrow().num_rows == 2
    assert rows.limit(2).count() == 2
    assert rows.where("id > 2").select("Name").to_polars().rows() == [("<b>",)]


def test_a_query_over_a_table_calls_it_input(written: frazil.Lake) -> None:
    rows = written.read(TABLE).where("id > 0").sql("select count(*) as n, max(id) as m from input")
    assert rows.to_arrow().to_pylist() == [{"n": 3, "m": 3}]
    assert written.sql(f"select sum(id) as s from {TABLE}").to_arrow().to_pylist() == [{"s": 6}]


def test_the_past_is_there_by_id_and_time(written: frazil.Lake) -> None:
    first, second = written.table(TABLE).snapshots
    assert written.read(TABLE, as_of=first["snapshot_id"]).count() == 3
    assert written.read(TABLE, as_of=str(first["snapshot_id"])).count() == 3
    assert written.read(TABLE, as_of=second["snapshot_id"]).count() == 4
    assert written.read(TABLE, as_of="main").count() == 4
    assert written.read(TABLE, as_of="2100-01-01").count() == 4
    with pytest.raises(frazil.NotFoundError):
        written.read(TABLE, as_of="2000-01-01").count()
    with pytest.raises(frazil.NotFoundError):
        written.read("a.none").to_arrow()


def test_the_table_describes_itself(written: frazil.Lake) -> None:
    table = written.table(TABLE)
    assert [(column["name"], column["type"]) for column in table.schema] == [
        ("id", "long"),
        ("Name", "string"),
        ("kafka_offset", "long"),
    ]
    assert (table.partition_by, table.sort_by) == (["bucket(2, id)"], ["id asc nulls first"])
    assert table.format_version in (2, 3)
    assert table.current_snapshot_id == table.snapshots[-1]["snapshot_id"]
    assert (table.ledgers["j"]["rows"], table.ledgers["j"]["dead_letters"]) == (4, 1)
    assert table.ledgers["j"]["next"] == {"t": {"0": 5}}
    assert "frazil.ledger.j" in table.properties
    shown = table._repr_html_()
    assert "bucket(2, id)" in shown
    assert "4 rows, 2 commits, 1 dead letters" in shown
    assert "partitioned by bucket(2, id)" in str(table)
    assert table.read().count() == 4


def test_the_audit_is_clean_and_says_so(written: frazil.Lake) -> None:
    report = written.audit(TABLE)
    assert report.clean
    assert report.check() is report
    assert [job["job"] for job in report] == ["j"]
    assert (report[0]["records"], report[0]["rows"], report[0]["dead_letters"]) == (5, 4, 1)
    assert frazil.audit(TABLE, written, job="j").clean
    assert "| clean | 5 records, 4 rows, 0 filtered, 1 dead letters, 2 commits" in str(report)
    with pytest.raises(frazil.NotFoundError):
        written.audit(TABLE, job="other")


def test_the_command_line_shows_the_same(written: frazil.Lake, capsys: pytest.CaptureFixture[str]) -> None:
    lake = ["--lake", str(written.document())]
    assert main(["tables", "--json", *lake]) == 0
    assert json.loads(capsys.readouterr().out) == {"table": TABLE}
    assert main(["tables", TABLE, "--json", *lake]) == 0
    assert json.loads(capsys.readouterr().out)["partition_spec"] == ["bucket(2, id)"]
    assert main(["audit", TABLE, "--json", *lake]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["clean"], found["jobs"][0]["rows"]) == (True, 4)
    assert main(["sql", f"select Name from {TABLE} where id = 3", "--json", *lake]) == 0
    assert json.loads(capsys.readouterr().out) == {"Name": "<b>"}


def test_an_audit_that_is_not_clean_names_what_is_wrong() -> None:
    report = AuditReport(TABLE, [{"job": "j", "clean": False, "findings": ["offset 5 to 7 is missing"]}])
    with pytest.raises(frazil.AuditError, match="j: offset 5 to 7 is missing"):
        report.check()
    assert "NOT CLEAN" in str(report)
    assert "offset 5 to 7 is missing" in report._repr_html_()
    assert not report.to_dict()["clean"]


def test_a_table_that_no_job_wrote_has_nothing_to_audit() -> None:
    report = AuditReport(TABLE, [])
    assert report.clean
    assert "no job of Frazil" in str(report)


def test_a_dropped_table_is_gone(written: frazil.Lake) -> None:
    assert written.tables() == written.tables("a") == [TABLE]
    assert written.namespaces() == ["a"]
    assert TABLE in written._repr_html_()
    written.drop_table(TABLE)
    assert written.tables() == []
    with pytest.raises(frazil.NotFoundError):
        written.table(TABLE)


def test_kafka_is_read_without_a_table(lake: frazil.Lake, broker: frazil.EmbeddedBroker) -> None:
    rows = lake.read(frazil.kafka("t", bootstrap=broker.bootstrap, format="json", schema={"id": "long"}))
    for _ in range(2):
        assert rows.where("id > 0").select("id * 2 as twice").to_arrow().to_pydict() == {"twice": [2, 4]}
    assert rows.count() == 3
    assert lake.tables() == []
