"""What the fault tests share: numbered events, a worker process, and an independent look at the table."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

import frazil

TABLE = "faults.events"
COLUMNS = {"id": "long", "text": "string"}
# The group notices a dead worker after this long, instead of 45 seconds.
SESSION = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 40) -> Any:
    """Wait until ``condition`` holds and return what it said."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)
    return found


class Feed:
    """Events with ids from 0 on, sent to one topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self.sent = 0
        self._producer = frazil.Producer(bootstrap)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, count: int, *, partition: int | None = None) -> None:
        """Send the next ``count`` events, and wait until they have arrived."""
        for number in range(self.sent, self.sent + count):
            value = f'{{"id":{number},"text":"event {number * 2_654_435_761 % 4_294_967_296:x}"}}'.encode()
            self._producer.send(self.topic, value, key=str(number).encode(), partition=partition)
        self.sent += count
        self._producer.flush(60)

    def spoil(self, count: int, value: bytes = b"no json", **options: Any) -> None:
        """Send records that cannot be decoded; they have no id."""
        for _ in range(count):
            self._producer.send(self.topic, value, **options)
        self._producer.flush(60)

    def __enter__(self) -> Self:
        """Go on sending in the background, about 10,000 events a second."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.send(500)


def job(bootstrap: str, topic: str, lake: Path | dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A job document; ``parts`` replace its parts, ``kafka`` adds to the source's settings."""
    kafka = {"topics": [topic], "bootstrap": bootstrap, "properties": SESSION, **parts.pop("kafka", {})}
    return {
        "name": "faults",
        "lake": lake if isinstance(lake, dict) else str(lake),
        "source": {"kafka": kafka},
        "decode": {"json": {"schema": COLUMNS}},
        "sink": {"table": TABLE},
        "trigger": {"every": "100ms"},
        "memory": "128MiB",
        **parts,
    }


class Worker:
    """``frazil run`` in a process of its own, told apart by a number."""

    def __init__(self, directory: Path, document: dict[str, Any], preload: str = "") -> None:
        """``preload`` is Python to run in the process before."""
        directory.mkdir(parents=True, exist_ok=True)
        number = len(list(directory.glob("worker-*.json")))
        path = directory / f"worker-{number}.json"
        path.write_text(json.dumps(document))
        self.out, self.err = path.with_suffix(".out"), path.with_suffix(".err")
        code = f"{preload}\nimport sys\nfrom frazil.cli import main\nsys.exit(main())"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "run", str(path), "--json", "--every", "0.1"],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
            )

    def lines(self) -> list[dict[str, Any]]:
        """What it has said so far."""
        return [json.loads(line) for line in self.out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def status(self) -> dict[str, Any]:
        """The last status; empty before the first."""
        lines = [line for line in self.lines() if line["event"] != "error"]
        return lines[-1] if lines else {}

    def wait_for(self, what: str, condition: Callable[[dict[str, Any]], Any], seconds: float = 40) -> dict[str, Any]:
        """Wait until a status fulfils ``condition``, and return it."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            if status and condition(status):
                return status
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.err.read_text()}"
            return None

        try:
            found: dict[str, Any] = wait_for(what, look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; last status {self.status()}; stderr {self.err.read_text()}") from None
        return found

    def sleep(self, lake: Path) -> None:
        """Stops the process where it is (SIGSTOP), but not while it holds the lock of the SQLite catalog.

        A process that is stopped inside SQLite's few milliseconds keeps every other one out until it goes on: then
        nobody can take its work over, and nothing would be learned about that.
        """
        while True:
            self.send(signal.SIGSTOP)
            try:
                with closing(sqlite3.connect(lake / "catalog.db", timeout=2, isolation_level=None)) as db:
                    db.execute("begin exclusive")
                    db.execute("rollback")
                return
            except sqlite3.OperationalError:
                self.send(signal.SIGCONT)
                time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Ask it to stop, and return its exit code."""
        self.send(number)
        return self.end(seconds)

    def end(self, seconds: float = 60) -> int:
        """Wait for its end, and return its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"did not end within {seconds:g} s; last status {self.status()}; stderr {self.err.read_text()}"
            ) from None

    def error(self) -> dict[str, Any]:
        """The error that it ended with."""
        return next(line for line in reversed(self.lines()) if line["event"] == "error")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.wait()


def pyiceberg(lake: Path) -> Catalog:
    """The lake in a directory as PyIceberg opens it."""
    return SqlCatalog("lake", uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}")


def ids(lake: Path | Catalog, table: str = TABLE) -> list[int]:
    """All ids in the table as PyIceberg reads them."""
    catalog = pyiceberg(lake) if isinstance(lake, Path) else lake
    found: list[int] = catalog.load_table(table).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
    return found


def check(lake: Path | dict[str, Any], sent: int, catalog: Catalog | None = None, table: str = TABLE) -> None:
    """Each id is there once, by PyIceberg's count; and the table's own books agree."""
    found = ids(catalog or Path(str(lake)), table)
    doubled = len(found) - len(set(found))
    missing = set(range(sent)) - set(found)
    assert (doubled, len(missing), len(found)) == (0, 0, sent)
    audit = frazil.connect(lake).audit(table)
    assert audit.clean, str(audit)
    assert audit[0]["rows"] == sent


def files_on_disk(directory: Path) -> set[str]:
    """Data files below a directory."""
    return {str(path) for path in directory.rglob("*.parquet")}


def files_in_table(lake: Path, table: str = TABLE) -> set[str]:
    """Data files that the current snapshot refers to, by PyIceberg."""
    tasks = pyiceberg(lake).load_table(table).scan().plan_files()
    return {unquote(urlsplit(task.file.file_path).path) for task in tasks}
