"""Ctrl-C does not wait for a server that does not answer."""

import os
import signal
import threading
import time

import pytest

from frazil._interrupt import interruptible


def test_results_and_errors_come_through() -> None:
    assert interruptible(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)


def test_ctrl_c_breaks_the_wait_and_the_late_result_is_discarded() -> None:
    release, discarded = threading.Event(), threading.Event()

    def slow() -> int:
        release.wait(30)
        return 7

    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    late: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interruptible(slow, lambda result: (late.append(result), discarded.set())[0])
    assert time.monotonic() - begun < 5
    release.set()
    assert discarded.wait(10)
    assert late == [7]


def test_other_threads_call_directly() -> None:
    names: list[str] = []
    thread = threading.Thread(
        target=lambda: names.append(interruptible(lambda: threading.current_thread().name)), name="other"
    )
    thread.start()
    thread.join()
    assert names == ["other"]
