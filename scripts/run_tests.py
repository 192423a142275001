"""Runs all tests in stages, and ends with what each took and how many passed.

``python scripts/run_tests.py [STAGE ...]``; without names, every stage that has tests. The last line is
``N passed, N failed, N skipped``; the exit status is 1 if anything failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"


@dataclass
class Counts:
    """How the tests of a stage went."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def build() -> Counts:
    """Build the extension that the Python tests import."""
    done = subprocess.run(["make", "--no-print-directory", "build"], cwd=ROOT, stdin=subprocess.DEVNULL)
    return Counts(failed=int(done.returncode != 0))


def rust() -> Counts:
    """Run the unit tests of all crates, with the artifacts of the build.

    Not the extension module: it is linked without libpython, so it can only run inside Python.
    """
    command = [
        "cargo",
        "test",
        "--release",
        "--locked",
        "--workspace",
        "--exclude",
        "frazil-bindings",
        "--no-fail-fast",
    ]
    counts = Counts()
    result = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            # A crate without tests and a test that passed are nothing to read.
            if not re.match(r"test .* \.\.\. ok$|running \d+ tests?$|$", line.rstrip()):
                print(line, end="", flush=True)
            if found := result.match(line):
                counts += Counts(*map(int, found.groups()))
    if run.returncode != 0 and counts.failed == 0:  # it did not compile, or it crashed
        counts.failed = 1
    return counts


def pytest(name: str, *paths: str, options: tuple[str, ...] = ()) -> Callable[[], Counts]:
    """Run pytest on some paths."""

    def run() -> Counts:
        report = REPORTS / f"junit-{name}.xml"
        REPORTS.mkdir(exist_ok=True)
        report.unlink(missing_ok=True)
        there = [path for path in paths if (ROOT / path).exists()]
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options, *there]
        status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode
        counts = Counts()
        if report.exists():
            for suite in ET.parse(report).getroot().iter("testsuite"):
                total, failures, errors, skipped = (
                    int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
                )
                counts += Counts(total - failures - errors - skipped, failures + errors, skipped)
        if status != 0 and counts.failed == 0:  # no test at all, or pytest itself broke
            counts.failed = 1
        return counts

    return run


STAGES: dict[str, Callable[[], Counts]] = {
    "build": build,
    "rust": rust,
    "unit": pytest("unit", "tests/unit"),
    "servers": pytest("servers", "tests/test_servers.py"),
    "interop": pytest("interop", "tests/interop"),
    "docs": pytest("docs", "tests/docs", "python/frazil", options=("--doctest-modules",)),
    "faults": pytest("faults", "tests/faults"),
}
DIRECTORIES = {"unit": "tests/unit", "interop": "tests/interop", "docs": "python/frazil", "faults": "tests/faults"}


def main(names: list[str]) -> int:
    """Run the stages and print the table."""
    if unknown := [name for name in names if name not in STAGES]:
        print(f"no such stage: {', '.join(unknown)}; there are: {', '.join(STAGES)}")
        return 2
    results: dict[str, tuple[float, Counts]] = {}
    for name, stage in STAGES.items():
        wanted = name in names if names else (ROOT / DIRECTORIES.get(name, ".")).exists()
        # Everything after it in Python imports the extension.
        if name == "build" and names:
            wanted = set(names) & {"build", "unit", "interop", "docs", "faults"} != set()
        if not wanted:
            continue
        print(f"\n=== {name}: {(stage.__doc__ or 'pytest').splitlines()[0]}", flush=True)
        began = time.monotonic()
        counts = stage()
        results[name] = (time.monotonic() - began, counts)
        if name == "build" and counts.failed:
            break

    print(f"\n{'stage':<10}{'seconds':>9}{'passed':>9}{'failed':>9}{'skipped':>9}")
    for name, (seconds, counts) in results.items():
        print(f"{name:<10}{seconds:>9.1f}{counts.passed:>9}{counts.failed:>9}{counts.skipped:>9}")
    total = sum((counts for _, counts in results.values()), Counts())
    print(f"{'total':<10}{sum(seconds for seconds, _ in results.values()):>9.1f}\n")
    print(total, flush=True)
    return int(total.failed > 0 or total.passed == 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
