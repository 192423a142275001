"""What the unit tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import frazil


@pytest.fixture
def lake(tmp_path: Path) -> frazil.Lake:
    """An empty lake in a directory of its own."""
    return frazil.connect(tmp_path / "lake")


@pytest.fixture
def broker() -> Iterator[frazil.EmbeddedBroker]:
    """A broker in this process with topic `t` of one partition, which holds three JSON records."""
    from frazil import _core

    broker = _core.EmbeddedBroker({"t": 1})
    producer = _core.Producer(broker.bootstrap)
    for number in range(3):
        producer.send("t", b'{"id": %d}' % number)
    producer.flush()
    del producer  # Before the broker, so that it does not complain of a lost connection.
    yield broker
    broker.close()
