"""Rows reach every library, and people."""

import pytest

import frazil


@pytest.fixture
def rows(lake: frazil.Lake) -> frazil.Relation:
    return lake.sql("select 1 as id, 'a<b' as name union all select 2, null order by id")


def test_rows_reach_arrow_pandas_polars_and_duckdb(rows: frazil.Relation) -> None:
    pytest.importorskip("pyarrow")
    expected = {"id": [1, 2], "name": ["a<b", None]}
    assert rows.to_arrow().to_pydict() == expected
    assert sum(batch.num_rows for batch in rows.to_batches()) == 2
    pytest.importorskip("polars")
    assert rows.to_polars().to_dict(as_series=False) == expected
    pytest.importorskip("pandas")
    assert rows.to_pandas()["id"].tolist() == [1, 2]


def test_duckdb_may_read_the_relation_more_than_once(rows: frazil.Relation) -> None:
    duckdb = pytest.importorskip("duckdb")
    for connection in (None, duckdb.connect()):
        relation = rows.to_duckdb(connection)
        for _ in range(2):
            assert relation.aggregate("sum(id)").fetchall() == [(3,)]


def test_any_arrow_library_reads_the_capsule_again_and_again(rows: frazil.Relation) -> None:
    pa = pytest.importorskip("pyarrow")
    assert pa.table(rows).num_rows == pa.table(rows).num_rows == 2


def test_show_prints_a_plain_table(rows: frazil.Relation, capsys: pytest.CaptureFixture[str]) -> None:
    rows.show()
    assert capsys.readouterr().out == "id | name\n---+-----\n 1 | a<b\n 2 | null\n"
    rows.show(1)
    assert capsys.readouterr().out.splitlines()[2:] == [" 1 | a<b"]


def test_html_is_escaped_and_names_types(rows: frazil.Relation) -> None:
    shown = rows._repr_html_()
    assert "a&lt;b" in shown
    assert "a<b" not in shown
    assert "<th>id: int" in shown


def test_count(rows: frazil.Relation) -> None:
    assert rows.count() == 2


def test_tables_of_text_cannot_move_the_cursor(lake: frazil.Lake, capsys: pytest.CaptureFixture[str]) -> None:
    lake.sql("select '\x1b[31mred' as x").show()
    assert "\x1b" not in capsys.readouterr().out
