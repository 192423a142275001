"""`import frazil` is cheap, and what it exports is there."""

import json
import subprocess
import sys

import frazil


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_import_loads_nothing_heavy() -> None:
    heavy = ["pyarrow", "pandas", "polars", "duckdb", "rich", "numpy", "yaml", "frazil._core", "http.server"]
    loaded = _python(f"import sys, json, frazil; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))")
    assert json.loads(loaded) == []


def test_connecting_loads_no_data_frame_library(tmp_path: object) -> None:
    code = (
        f"import sys, json, frazil; frazil.connect({str(tmp_path)!r}).tables(); print(json.dumps(sorted(sys.modules)))"
    )
    assert not {"pandas", "polars", "duckdb", "rich"} & set(json.loads(_python(code)))


def test_import_takes_less_than_its_limit() -> None:
    code = "import time; t = time.perf_counter(); import frazil; print(time.perf_counter() - t)"
    assert min(float(_python(code)) for _ in range(3)) < 0.3


def test_every_exported_name_resolves_and_is_listed() -> None:
    for name in frazil.__all__:
        assert getattr(frazil, name) is not None
        assert name in dir(frazil)
    assert isinstance(frazil.__version__, str)


def test_star_import_leaves_pythons_own_exceptions_alone() -> None:
    assert "InterruptedError" not in frazil.__all__
    assert frazil.InterruptedError is not InterruptedError


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(frazil, "conect")


def test_type_checkers_see_what_is_exported() -> None:
    import ast
    from pathlib import Path

    assert frazil.__file__ is not None
    tree = ast.parse(Path(frazil.__file__).read_text())
    seen = {
        (alias.asname, (node.module or "").removeprefix("frazil.").removeprefix("frazil"))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("frazil")
        for alias in node.names
    }
    assert seen == {*frazil._HOME.items(), ("exceptions", "")}
