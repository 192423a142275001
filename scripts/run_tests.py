"""Runs all tests in stages, and ends with what each took and how many passed.

``python scripts/run_tests.py [STAGE ...]``; without names, every stage that has tests. The last line is
``N passed, N failed, N skipped``; the exit status is 1 if anything failed.
"""

from __future__ import annotations

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
    reasons: frozenset[str] = frozenset()
    """Why tests were skipped."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.reasons | other.reasons,
        )

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
                passed, failed, ignored = map(int, found.groups())
                counts += Counts(passed, failed, ignored)
    if run.returncode != 0 and counts.failed == 0:  # it did not compile, or it crashed
        counts.failed = 1
    return counts


def pytest(name: str, paths: tuple[str, ...], options: tuple[str, ...] = ()) -> Counts:
    """Run pytest on some paths."""
    report = REPORTS / f"junit-{name}.xml"
    REPORTS.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options, *paths]
    status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    counts = Counts()
    if report.exists():
        for suite in ET.parse(report).getroot().iter("testsuite"):
            total, failures, errors, skipped = (
                int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")
            )
            reasons = frozenset(skip.get("message", "") for skip in suite.iter("skipped"))
            counts += Counts(total - failures - errors - skipped, failures + errors, skipped, reasons)
    if status != 0 and counts.failed == 0:  # no test at all, or pytest itself broke
        counts.failed = 1
    return counts


@dataclass
class Stage:
    """Some tests that run together: pytest on ``paths`` unless ``run`` does something else."""

    title: str
    paths: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    run: Callable[[], Counts] | None = None
    needs_build: bool = True

    def present(self) -> tuple[str, ...]:
        """Those of its paths that this checkout has."""
        return tuple(path for path in self.paths if (ROOT / path).exists())


STAGES = {
    "build": Stage("the extension module", run=build),
    "rust": Stage("unit tests of the crates", run=rust, needs_build=False),
    "unit": Stage("the Python package", ("tests/unit",)),
    "wheel": Stage("the wheel, as a user gets it", ("tests/test_wheel.py",), needs_build=False),
    "servers": Stage("the servers that the tests start", ("tests/test_servers.py",), needs_build=False),
    "interop": Stage("real servers and other engines", ("tests/interop",)),
    "docs": Stage("README and docstrings", ("tests/docs", "python/frazil"), ("--doctest-modules",)),
    "faults": Stage("kill, pause, break", ("tests/faults",)),
}


def chosen(names: list[str]) -> dict[str, Stage]:
    """The stages to run, in order; without names, all that have something in them."""
    if not names:
        return {name: stage for name, stage in STAGES.items() if stage.run or stage.present()}
    wanted = set(names)
    if any(STAGES[name].needs_build for name in names):
        wanted.add("build")
    return {name: stage for name, stage in STAGES.items() if name in wanted}


def main(names: list[str]) -> int:
    """Run the stages and print the table."""
    if unknown := [name for name in names if name not in STAGES]:
        print(f"no such stage: {', '.join(unknown)}; there are: {', '.join(STAGES)}")
        return 2
    results: dict[str, tuple[float, Counts]] = {}
    for name, stage in chosen(names).items():
        print(f"\n=== {name}: {stage.title}", flush=True)
        began = time.monotonic()
        counts = stage.run() if stage.run else pytest(name, stage.present(), stage.options)
        results[name] = (time.monotonic() - began, counts)
        if name == "build" and counts.failed:
            break

    print(f"\n{'stage':<10}{'seconds':>9}{'passed':>9}{'failed':>9}{'skipped':>9}")
    for name, (seconds, counts) in results.items():
        print(f"{name:<10}{seconds:>9.1f}{counts.passed:>9}{counts.failed:>9}{counts.skipped:>9}")
    total = sum((counts for _, counts in results.values()), Counts())
    print(f"{'total':<10}{sum(seconds for seconds, _ in results.values()):>9.1f}\n")
    for reason in sorted(total.reasons):
        print(f"skipped: {reason}")
    print(total, flush=True)
    return int(total.failed > 0 or total.passed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
