"""A worker that is asked to stop commits what it has read and leaves in good order."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.harness import Feed, Worker, check, files_in_table, files_on_disk, job
from tests.servers import Kafka

pytestmark = pytest.mark.faults


def members(kafka: Kafka, group: str) -> int:
    admin = kafka.admin()  # it must outlive its answer
    return len(admin.describe_consumer_groups([group])[group].result(30).members)


def test_sigterm_and_sigint_commit_what_was_read_and_the_next_run_goes_on(
    kafka: Kafka, topic: str, unique: str, tmp_path: Path
) -> None:
    document = job(kafka.bootstrap, topic, tmp_path / "lake", kafka={"group": unique}, trigger={"every": "2s"})
    with Feed(kafka.bootstrap, topic) as feed:
        for number in (signal.SIGTERM, signal.SIGINT):
            with Worker(tmp_path, document) as worker:
                # Under load, and between two commits: something is read and not committed.
                worker.wait_for("a commit", lambda s: s["commits"] >= 1)
                worker.wait_for("uncommitted records", lambda s: (s["freshness_ms"] or 0) > 300)
                began = time.monotonic()
                assert worker.stop(number) == 0
                assert time.monotonic() - began < 10
                end = worker.status()
                assert (end["event"], end["state"], end["freshness_ms"]) == ("end", "finished", None)
                assert members(kafka, unique) == 0
            # Nobody else refers to them, so nothing may be left that no snapshot refers to.
            assert files_on_disk(tmp_path / "lake") == files_in_table(tmp_path / "lake")
    with Worker(tmp_path, {**document, "trigger": "available_now"}) as worker:
        assert worker.end() == 0
    check(tmp_path / "lake", feed.sent)


def test_a_second_signal_does_not_wait(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    with Worker(tmp_path, job(kafka.bootstrap, topic, tmp_path / "lake")) as worker:
        worker.wait_for("running", lambda s: s["state"] == "running")
        # A stopped process gets both signals at once when it goes on.
        worker.send(signal.SIGSTOP)
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGCONT)
        time.sleep(0.05)
        if worker.process.poll() is None:
            worker.send(signal.SIGINT)
        assert worker.end(10) in (0, 130)
