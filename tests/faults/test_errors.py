"""What cannot be mended ends the job at once, says what it is, and leaves the table as it was."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import frazil
from frazil import _core
from tests.faults.harness import Feed, Worker, check, files_in_table, files_on_disk, ids, job
from tests.servers import Kafka
from tests.servers.base import free_ports

pytestmark = pytest.mark.faults

MOUNT = ["mount", "-t", "tmpfs", "-o"]


def test_the_exit_code_tells_what_went_wrong(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    good = job(kafka.bootstrap, topic, tmp_path / "lake", trigger="available_now")
    wrong: dict[str, dict[str, Any]] = {
        "ConfigError": {**good, "triger": "once"},
        "NotFoundError": {**good, "source": {"kafka": {**good["source"]["kafka"], "topics": ["nowhere"]}}},
        "SourceError": {**good, "source": {"kafka": {**good["source"]["kafka"], "bootstrap": nobody}}},
        "CatalogError": {**good, "lake": {"catalog": f"http://{nobody}"}},
        "StorageError": {**good, "lake": {"catalog": f"sqlite:///{tmp_path}/c.db", "warehouse": "/proc/no/lake"}},
        "TooManyBadError": {**good, "lake": str(tmp_path / "bad"), "decode": {"json": {"schema": {"text": "boolean"}}}},
    }
    Feed(kafka.bootstrap, topic).send(10)
    # All at once: each spends its time waiting.
    workers = {kind: Worker(tmp_path / kind, document) for kind, document in wrong.items()}
    for kind, worker in workers.items():
        with worker:
            began = time.monotonic()
            assert worker.end(60) == _core.exit_code(kind), (kind, worker.err.read_text())
            assert time.monotonic() - began < 40
            assert worker.error()["error"] == kind
            assert worker.err.read_text().splitlines()[-1].startswith(f"frazil: {kind}: ")
    codes = {kind: worker.process.returncode for kind, worker in workers.items()}
    assert len(set(codes.values())) == len(codes), codes
    with Worker(tmp_path / "good", good) as worker:
        assert worker.end() == 0


def test_an_unreachable_catalog_is_named(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(frazil.exceptions.CatalogError, match=nobody):
        frazil.run(job("127.0.0.1:9", "t", {"catalog": nobody}), progress=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 3 MiB."""
    path = tmp_path / "lake"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run([*MOUNT, "size=3m", "tmpfs", path], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small file system")
    try:
        yield path
    finally:
        # Catalogs of this process may not be closed yet.
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize("rows", [20_000, 50])
def test_a_full_disk_ends_the_job_and_the_next_one_goes_on(
    kafka: Kafka, topic: str, tmp_path: Path, small_disk: Path, rows: int
) -> None:
    feed = Feed(kafka.bootstrap, topic)
    document = job(kafka.bootstrap, topic, small_disk)
    with Worker(tmp_path / "workers", document) as worker:
        feed.send(1_000)
        worker.wait_for("the first rows", lambda s: s["rows"] == feed.sent)
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
            # Large files do not fit any more, or, a page being left, not even those of a commit.
            for _ in range(2_500 if rows > 1_000 else 10_000):
                ballast.write(bytes(1_000))
        while worker.process.poll() is None:
            feed.send(rows)
            time.sleep(0.1)
        assert worker.end() == _core.exit_code("StorageError"), worker.err.read_text()
        assert "full" in worker.error()["message"]
    committed = len(ids(small_disk))
    assert 1_000 <= committed < feed.sent
    assert files_in_table(small_disk) <= files_on_disk(small_disk)

    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    with Worker(tmp_path / "workers", {**document, "trigger": "available_now"}) as last:
        assert last.end() == 0
    check(small_disk, feed.sent)
    assert files_on_disk(small_disk) == files_in_table(small_disk)


LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
"""


def test_a_file_that_cannot_be_written_whole_is_in_no_table(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    feed = Feed(kafka.bootstrap, topic)
    feed.send(1_000)
    document = job(kafka.bootstrap, topic, lake)
    with Worker(tmp_path, {**document, "trigger": "available_now"}) as first:
        assert first.end() == 0
    before = files_on_disk(lake)
    feed.send(60_000)
    with Worker(tmp_path, {**document, "trigger": "once"}, preload=LIMIT) as limited:
        assert limited.end() == _core.exit_code("StorageError"), limited.err.read_text()
        assert "full" in limited.error()["message"]
    assert len(ids(lake)) == 1_000
    assert files_on_disk(lake) == before == files_in_table(lake)
    with Worker(tmp_path, {**document, "trigger": "available_now"}) as last:
        assert last.end() == 0
    check(lake, feed.sent)


def test_a_wrong_document_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps({**job("127.0.0.1:9", "t", tmp_path / "lake"), "memory": "1MiB"}))
    done = subprocess.run([sys.executable, "-m", "frazil", "run", str(path)], capture_output=True, text=True)
    assert done.returncode == _core.exit_code("ConfigError")
    assert "memory: expected at least 64MiB" in done.stderr
    assert not (tmp_path / "lake").exists()
