"""Workers of one job: they divide the partitions, and none can harm the others' work."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.harness import Feed, Worker, check, ids, job, wait_for
from tests.servers import Kafka

pytestmark = pytest.mark.faults


def assigned(status: dict[str, object], topic: str) -> int:
    lag = status["lag"]
    assert isinstance(lag, dict)
    return len(lag.get(topic, {}))


@pytest.mark.slow
def test_workers_that_die_join_and_sleep_lose_and_double_nothing(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    document = job(kafka.bootstrap, topic, tmp_path / "lake")
    feed = Feed(kafka.bootstrap, topic)
    with feed, Worker(tmp_path, document) as first:
        first.wait_for("all partitions", lambda s: assigned(s, topic) == 4 and s["commits"])
        with Worker(tmp_path, document) as second:
            second.wait_for("half of the partitions", lambda s: assigned(s, topic) == 2 and s["commits"])
            first.wait_for("the other half", lambda s: assigned(s, topic) == 2)
            second.send(signal.SIGKILL)
            second.end()
        first.wait_for("the dead one's partitions", lambda s: assigned(s, topic) == 4)

        with Worker(tmp_path, document) as third:
            third.wait_for("half of the partitions", lambda s: assigned(s, topic) == 2 and s["commits"])
            # Longer than the session: the other one takes over and commits what the sleeper holds too.
            third.sleep(tmp_path / "lake")
            first.wait_for("the sleeper's partitions", lambda s: assigned(s, topic) == 4)
            done = first.status()["commits"]
            first.wait_for("commits of them", lambda s: s["commits"] >= done + 3)
            before = third.status()["commits"]
            third.send(signal.SIGCONT)
            third.wait_for(
                "the sleeper at work again", lambda s: s["commits"] >= before + 3 and assigned(s, topic) == 2
            )
            assert third.status()["retries"] >= 1, "it must have noticed"
            assert third.stop() == 0
        assert first.stop() == 0
    with Worker(tmp_path, {**document, "trigger": "available_now"}) as last:
        assert last.end() == 0
    check(tmp_path / "lake", feed.sent)


def test_two_that_do_not_know_of_each_other_cannot_both_commit(
    kafka: Kafka, topic: str, unique: str, tmp_path: Path
) -> None:
    documents = [
        job(kafka.bootstrap, topic, tmp_path / "lake", kafka={"group": f"{unique}-{name}"}) for name in ("a", "b")
    ]
    feed = Feed(kafka.bootstrap, topic)
    feed.send(20_000)
    with Worker(tmp_path, documents[0]) as one, Worker(tmp_path, documents[1]) as other:
        with feed:
            wait_for("a refused commit", lambda: any(worker.status().get("fenced") for worker in (one, other)))
        wait_for("all rows", lambda: len(ids(tmp_path / "lake")) >= feed.sent)
        for worker in (one, other):
            # It goes on without harm, or has given up because of the other one.
            if worker.process.poll() is None:
                worker.stop()
            assert worker.process.returncode == 0 or worker.error()["error"] == "FencedError"
    check(tmp_path / "lake", feed.sent)
