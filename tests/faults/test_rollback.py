"""Tables that somebody rolled back behind a job's last commit."""

from __future__ import annotations

from pathlib import Path

import pytest

import frazil
from frazil.exceptions import RolledBackError
from tests.faults.harness import TABLE, Feed, Worker, check, ids, job, pyiceberg
from tests.servers import Kafka

pytestmark = pytest.mark.faults

REWIND = {"on_rollback": "rewind"}


def roll_back(lake: Path, steps: int) -> None:
    """Set main back by some snapshots, as PyIceberg does it."""
    table = pyiceberg(lake).load_table(TABLE)
    snapshot = table.current_snapshot()
    for _ in range(steps):
        assert snapshot is not None
        assert snapshot.parent_snapshot_id is not None
        snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id)
    assert snapshot is not None
    table.manage_snapshots().rollback_to_snapshot(snapshot.snapshot_id).commit()


def test_a_rollback_stops_the_job_or_is_ingested_again(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    document = {**job(kafka.bootstrap, topic, tmp_path / "lake"), "trigger": "available_now"}
    feed = Feed(kafka.bootstrap, topic)
    for _ in range(3):
        feed.send(100)
        frazil.run(document, progress=False)
    roll_back(tmp_path / "lake", 2)
    assert len(ids(tmp_path / "lake")) == 100
    feed.send(50)

    with pytest.raises(RolledBackError, match="on_rollback: rewind"):
        frazil.run(document, progress=False)
    assert len(ids(tmp_path / "lake")) == 100

    assert frazil.run({**document, "errors": REWIND}, progress=False).rows == 250
    check(tmp_path / "lake", 350)


@pytest.mark.parametrize("rewind", [True, False])
def test_a_rollback_under_a_running_stream(kafka: Kafka, topic: str, tmp_path: Path, rewind: bool) -> None:
    document = job(kafka.bootstrap, topic, tmp_path / "lake", errors=REWIND if rewind else {})
    feed = Feed(kafka.bootstrap, topic)
    with Worker(tmp_path, document) as worker:
        for _ in range(3):
            feed.send(100)
            worker.wait_for("its rows", lambda s: s["rows"] == feed.sent)
        roll_back(tmp_path / "lake", 1)
        feed.send(100)
        if rewind:
            # 300 before, and what was rolled back, and what is new.
            worker.wait_for("all rows", lambda s: s["rows"] > feed.sent and s["freshness_ms"] is None)
            assert worker.stop() == 0
            check(tmp_path / "lake", feed.sent)
        else:
            assert worker.end() != 0
            assert worker.error()["error"] == "RolledBackError"
