"""Running jobs and their handles, against a broker in this process."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

import frazil
from frazil import job as job_module


def _source(broker: frazil.EmbeddedBroker) -> frazil.KafkaSource:
    return frazil.kafka("t", bootstrap=broker.bootstrap, format="json", schema={"id": "long"})


def test_a_stream_stops_at_the_end_of_its_block(lake: frazil.Lake, broker: frazil.EmbeddedBroker) -> None:
    with lake.read_stream(_source(broker)).write("a.b", every="200ms") as stream:
        for _ in range(150):
            assert stream.wait(0.2) is None
            if stream.status().rows == 3:
                break
        assert "a.b" in repr(stream)
        assert "<table>" in stream._repr_html_()
    final = stream.wait()
    assert final is not None
    assert (final.state, final.rows) == ("finished", 3)


def test_write_returns_when_all_is_there(
    lake: frazil.Lake, broker: frazil.EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    done = lake.read(_source(broker)).write("a.b", name="j", progress=False)
    assert (done.state, done.rows) == ("finished", 3)
    assert capsys.readouterr().err == ""


def test_ctrl_c_drains_and_then_interrupts(lake: frazil.Lake, broker: frazil.EmbeddedBroker) -> None:
    document = lake.read_stream(_source(broker)).job("a.b", every="200ms")
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        frazil.run(document, progress=False)
    timer.join()
    handle = next(iter(job_module._kept))
    assert handle.status().state == "finished"


def test_the_error_of_the_block_is_the_one_to_see(lake: frazil.Lake, broker: frazil.EmbeddedBroker) -> None:
    stream = lake.read_stream(_source(broker)).write("a.b", every="200ms")
    with pytest.raises(ZeroDivisionError), stream:
        _ = 1 / 0
    assert stream.status().ended


def test_a_job_is_a_mapping_a_text_or_a_file(tmp_path: Any) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nlake: b\n")
    assert job_module.load(path) == job_module.load(str(path)) == "name: a\nlake: b\n"
    assert job_module.load("name: a\nlake: b") == "name: a\nlake: b"
    assert job_module.load('{"name": "a"}') == '{"name": "a"}'
    assert job_module.load({"name": "a"}) == {"name": "a"}
    with pytest.raises(frazil.NotFoundError, match="found nothing at"):
        frazil.run(tmp_path / "missing.yaml")
    with pytest.raises(frazil.ConfigError, match="found the directory"):
        frazil.run(tmp_path)
    with pytest.raises(frazil.ConfigError):
        frazil.run("a: [\n")


def test_a_producer_that_outlives_its_broker_does_not_hang_the_process() -> None:
    # Dropped with the GIL held while librdkafka logs the lost connection, which needs the GIL too.
    code = """
import frazil
for _ in range(8):
    broker = frazil.EmbeddedBroker({"t": 1})
    producer = frazil.Producer(broker.bootstrap)
    producer.send("t", b"x")
    producer.flush()
    broker.close()
    del producer
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "ended\n"
