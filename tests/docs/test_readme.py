"""The README's tour, word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from frazil import _core

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_tour_runs_as_written(tmp_path: Path) -> None:
    tour = blocks("python")
    assert len(tour) >= 5
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(tour)],
        cwd=tmp_path,
        env={**os.environ, "FRAZIL_PROGRESS": "off"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "900 rows, 100 left out, 1 dead letter" in done.stdout
    assert "NG" in done.stdout
    assert "clean" in done.stdout
    assert "900 rows in the first snapshot" in done.stdout
    assert (tmp_path / "lake" / "catalog.db").exists()


def test_running_it_again_changes_nothing(tmp_path: Path) -> None:
    tour = blocks("python")
    once_more = tour[1].split("done = ")[1].replace("lake.read", "twice = lake.read", 1).split("print(")[0]
    again = [*tour[:2], once_more]
    again.append("assert (done.rows, twice.rows, twice.commits) == (900, 0, 0), (done, twice)")
    subprocess.run([sys.executable, "-c", "\n".join(again)], cwd=tmp_path, check=True, timeout=120)


def test_the_jobs_in_yaml_are_valid() -> None:
    jobs = blocks("yaml")
    assert jobs
    for text in jobs:
        _core.validate_job(text)
