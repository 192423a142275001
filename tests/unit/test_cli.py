"""The command line: arguments, output and exit codes."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import frazil
from frazil import _core
from frazil.cli import _options, main


@pytest.fixture
def job(tmp_path: Path, broker: frazil.EmbeddedBroker) -> Path:
    document = {
        "lake": str(tmp_path / "lake"),
        "source": {"kafka": {"topics": ["t"], "bootstrap": broker.bootstrap}},
        "decode": {"json": {"schema": {"id": "long"}}},
        "sink": {"table": "a.b"},
    }
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(document))
    return path


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"frazil {_core.__version__}\n"
    for arguments in ([], ["nonsense"], ["run"], ["run", "x", "--chek"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


def test_schema_prints_the_jobs_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == _core.job_schema()


def test_run_ends_with_what_was_done(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(job), "--json"]) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert (events[-1]["event"], events[-1]["state"], events[-1]["rows"]) == ("end", "finished", 3)
    assert err == ""


def test_run_without_a_terminal_writes_plain_lines_to_stderr(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(job)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("frazil: a.b finished | 3 records")
    assert "\x1b" not in err


def test_check_shows_the_document_and_runs_nothing(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(job), "--check", "--set", "trigger.every=5s", "--set", "sink.format_version=3"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["trigger"] == {"every": "5s"}
    assert shown["sink"]["format_version"] == 3
    assert not (job.parent / "lake" / "a").exists()


def test_an_error_is_one_line_and_its_own_exit_code(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(job), "--set", 'sink.partition_by=["dya(ts)"]']
    assert main(arguments) == _core.exit_code("ConfigError")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("frazil: ConfigError: sink.partition_by[0]: unknown transform 'dya'")
    assert err.count("\n") == 1
    assert main([*arguments, "--json"]) == _core.exit_code("ConfigError")
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["error"], line["exit_code"]) == ("error", "ConfigError", _core.exit_code("ConfigError"))


def test_a_missing_file_or_table_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _core.exit_code("NotFoundError")
    assert main(["run", str(tmp_path / "none.yaml")]) == code
    assert main(["audit", "a.b", "--lake", str(tmp_path / "lake")]) == code
    assert main(["tables", "a.b", "--lake", str(tmp_path / "lake")]) == code
    assert main(["tables", "--lake", str(tmp_path / "none.yaml")]) == code


def test_sql_prints_tables_json_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = ["--lake", str(tmp_path / "lake")]
    query = "select 1 as a, 'x,y' as b, cast(null as varchar) as c, timestamp '2026-11-01 00:00:00' as t"
    assert main(["sql", query, "--json", *lake]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1, "b": "x,y", "c": None, "t": "2026-11-01T00:00:00"}
    assert main(["sql", query, "--csv", *lake]) == 0
    assert capsys.readouterr().out == 'a,b,c,t\n1,"x,y",,2026-11-01T00:00:00\n'
    assert main(["sql", "select 1 as a", *lake]) == 0
    out, err = capsys.readouterr()
    assert out == "a\n-\n1\n"
    assert err == "(1 row)\n"
    with pytest.raises(SystemExit):
        main(["sql", "select 1", "--json", "--csv"])


def test_the_lake_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAZIL_LAKE", str(tmp_path / "elsewhere"))
    assert main(["tables"]) == 0
    assert (tmp_path / "elsewhere").is_dir()


def test_catalog_settings_come_from_a_file_and_flags(tmp_path: Path) -> None:
    file = tmp_path / "lake.yaml"
    file.write_text(json.dumps({"catalog": str(tmp_path / "lake"), "name": "x"}))
    arguments = ["tables", "--lake", str(file), "--catalog-set", "name=y", "--catalog-set", "storage.path_style=true"]
    options = __import__("frazil.cli", fromlist=["parser"]).parser().parse_args(arguments)
    assert _options.open_lake(options).document() == {
        "catalog": str(tmp_path / "lake"),
        "name": "y",
        "storage": {"path_style": True},
    }


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("a.b", 1, {"a": {"b": 1}, "l": [1, {"x": 2}], "lake": "./l"}),
        ("l[1].x", 3, {"l": [1, {"x": 3}], "lake": "./l"}),
        ("lake.name", "n", {"l": [1, {"x": 2}], "lake": {"catalog": "./l", "name": "n"}}),
        ("properties.a.b", "c", {"l": [1, {"x": 2}], "lake": "./l", "properties": {"a.b": "c"}}),
    ],
)
def test_set_reaches_every_place(path: str, value: Any, found: Any) -> None:
    document = {"l": [1, {"x": 2}], "lake": "./l"}
    _options.put(document, path, value)
    assert document == found


@pytest.mark.parametrize("path", ["l[9]", "l.x", "l[1][0]", "a..b", "[0]"])
def test_set_refuses_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(frazil.ConfigError, match="--set"):
        _options.put({"l": [1, {"x": 2}]}, path, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5s", "5s"), ("3", 3), ("true", True), ('["a"]', ["a"]), ('"3"', "3"), ("", ""), ("a=b", "a=b")],
)
def test_values_are_json_or_text(text: str, value: Any) -> None:
    assert _options.value_of(text) == value
    assert _options.assignments([f"k={text}"], "--set") == [("k", text)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_with_zero(job: Path, number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-m",
        "frazil",
        "run",
        str(job),
        "--json",
        "--every",
        "0.5",
        "--set",
        "trigger.every=200ms",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["rows"] == 3:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["state"], last["rows"]) == ("end", "finished", 3)
    assert err == "frazil: stopping: commits what was read (again: exit at once)\n"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    query = "select * from (values (1)) as t(a) cross join generate_series(1, 200000) as s(b)"
    command = [sys.executable, "-m", "frazil", "sql", query, "--csv", "--lake", str(tmp_path / "lake")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "a,b\n"
        process.stdout.close()
        assert process.stderr.read() == ""
