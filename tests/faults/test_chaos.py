"""Workers of one job that come, go, sleep and die at random, while records and aborted transactions stream in."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.faults.harness import Feed, Worker, check, job
from tests.servers import Kafka

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SECONDS = 30
WORKERS = 3


def abort_now_and_then(bootstrap: str, topic: str, stop: threading.Event) -> None:
    """Transaction markers: offsets without records, also at the ends of partitions."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{topic}-aborted"})
    producer.init_transactions(30)
    while not stop.wait(0.4):
        producer.begin_transaction()
        for partition in range(4):
            producer.produce(topic, b'{"id":-1}', partition=partition)
        producer.flush(30)
        producer.abort_transaction(30)


def test_workers_that_come_and_go_at_random(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    # Little memory and large rounds now and then: rebalances meet full lanes, too.
    document = job(kafka.bootstrap, topic, tmp_path / "lake", memory="64MiB", drain_timeout="10s")
    feed, stop = Feed(kafka.bootstrap, topic), threading.Event()
    aborting = threading.Thread(target=abort_now_and_then, args=(kafka.bootstrap, topic, stop))
    ended: list[tuple[str, int, str]] = []
    deeds = []

    def end(worker: Worker, deed: str) -> None:
        with worker:
            ended.append((deed, worker.end(40), worker.err.read_text()))

    with contextlib.ExitStack() as stack:
        stack.enter_context(feed)
        aborting.start()
        stack.callback(aborting.join)
        stack.callback(stop.set)
        workers: list[Worker] = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            while len(workers) < WORKERS:
                workers.append(stack.enter_context(Worker(tmp_path, document)))
            time.sleep(dice.uniform(0.5, 4))
            worker = workers[dice.randrange(WORKERS)]
            deed = dice.choice(["kill", "stop", "stop", "sleep", "nap"])
            deeds.append(deed)
            if deed in ("sleep", "nap"):
                # A sleep is longer than the session, a nap is not.
                worker.send(signal.SIGSTOP)
                time.sleep(8 if deed == "sleep" else 2)
                worker.send(signal.SIGCONT)
            else:
                worker.send(signal.SIGKILL if deed == "kill" else signal.SIGTERM)
                workers.remove(worker)
                end(worker, deed)
        for worker in workers:
            worker.send(signal.SIGTERM)
            end(worker, "stop")
    print(deeds)
    # The last one waits for nobody: without a group.
    with Worker(tmp_path, {**document, "trigger": "available_now"}) as last:
        assert last.end() == 0, last.err.read_text()
    check(tmp_path / "lake", feed.sent)
    for deed, code, errors in ended:
        assert "InternalError" not in errors
        # Stopping may meet a commit that another worker has fenced: then nothing of it is in the table.
        expected = (0, -signal.SIGKILL) if deed == "kill" else (0,)
        assert code in expected or "FencedError" in errors or "SourceError" in errors, (deed, code, errors)
