"""Calls that may wait for a server, made so that Ctrl-C does not wait with them."""

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_SLICE_SECONDS = 0.1


def interruptible(call: Callable[[], _T], discard: Callable[[_T], None] | None = None) -> _T:
    """Makes a call in another thread and waits for it in a way that signals can break.

    The core releases the GIL, but Python runs signal handlers in the main thread only, and not while that is inside
    the core.

    Args:
        call: What to call.
        discard: What to do with a result that comes after the wait was broken.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()  # Signals do not come here.
    done: list[_T] = []
    failed: list[BaseException] = []
    lock = threading.Lock()
    given_up = False

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # Raised again below.
            failed.append(error)
            return
        with lock:
            if not given_up:
                done.append(result)
                return
        if discard is not None:
            discard(result)

    thread = threading.Thread(target=work, name="frazil-call", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_SLICE_SECONDS)
    except BaseException:
        with lock:
            given_up = True
        if done and discard is not None:
            discard(done[0])
        raise
    if failed:
        raise failed[0]
    return done[0]
