"""Running a program and taking what it cost."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("FRAZIL_CACHE", Path.home() / ".cache" / "frazil"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target"))


@dataclass(frozen=True)
class Cost:
    """What a process said in its last line, its CPU time in seconds and its peak memory in MiB."""

    report: dict[str, Any]
    cpu_s: float
    peak_rss_mib: float


def run(command: Sequence[str]) -> Cost:
    """Runs a program to its end; its last line of output is JSON."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {output[-2000:]}")
    return Cost(json.loads(output.splitlines()[-1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def bench_binary(*arguments: object) -> list[str]:
    """The command line of the bare parts in Rust."""
    return [str(TARGET / "release" / "frazil-bench"), *(str(argument) for argument in arguments)]


def build() -> None:
    """Compiles the Rust parts of the benchmarks."""
    build = ["cargo", "build", "--release", "-p", "frazil-bench", "-p", "frazil-commit", "--bins", "--examples"]
    subprocess.run(build, cwd=ROOT, check=True, env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})


def job(document: dict[str, Any]) -> Cost:
    """Runs a job document in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        return run([sys.executable, "-m", "tests.bench.worker", file.name])


def spread(values: Sequence[float]) -> str:
    """Median and range, for people."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
