"""A server process of the tests: start, wait until it answers, kill, pause, restart, stop.

What is special about one kind of server stands in that server's own module.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

from . import reaper

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now.

    They lie below the range from which the kernel takes ports for outgoing connections: a client that
    keeps knocking on a killed server's port could otherwise be given that very port as its own, and the
    restarted server would find it taken.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = random.randrange(15_000, 32_000)
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                found.append(port)
    return found


def answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(200 <= response.status < 300)
    except (OSError, urllib.error.URLError):
        return False


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


class Server:
    """One server process with its own data directory and ports, both kept over a restart.

    Use it as a context manager, or call ``start`` and ``close``. Ports and data are decided when the
    object is made, so its addresses are valid before it runs, while it is down, and after a restart.
    """

    name: ClassVar[str]
    start_timeout: ClassVar[float] = 90.0
    stop_timeout: ClassVar[float] = 15.0
    piped: ClassVar[bool] = False
    """Whether standard input and output are pipes to this process instead of nothing and the log."""

    def __init__(self) -> None:
        self.data = Path(tempfile.mkdtemp(prefix=f"frazil-{self.name}-"))
        self.log = self.data / "server.log"
        self.process: subprocess.Popen[str] | None = None
        self.started_in = 0.0

    # What each kind of server says about itself.

    def install(self) -> None:
        """Fetch what the server needs; raises `Unavailable` if this machine cannot run it."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write configuration before a start. Called again before a restart."""

    def command(self) -> list[str]:
        """The command line of the server."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Environment variables beside the inherited ones."""
        return {}

    def ready(self) -> bool:
        """Whether the server does its work now. Called until it says so."""
        raise NotImplementedError

    def addresses(self) -> dict[str, str]:
        """What a client needs to know, for people."""
        return {}

    # What all have in common.

    def start(self) -> Self:
        """Start the process and wait until it answers."""
        if self.running:
            return self
        self.install()
        self.prepare()
        began = time.monotonic()
        with open(self.log, "a") as log:
            log.write(f"=== start {time.strftime('%H:%M:%S')}\n")
            log.flush()
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.data,
                env={**os.environ, "TMPDIR": str(self._scratch()), **self.environment()},
                stdin=subprocess.PIPE if self.piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.piped else log,
                stderr=log,
                text=True,
                # A process group of its own, so that stopping takes children along and ^C does not.
                start_new_session=True,
            )
        reaper.watch(self.process.pid)
        self._wait_until_ready()
        self.started_in = time.monotonic() - began
        return self

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be paused)."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, which is the id of its group as well."""
        if self.process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self.process.pid

    def stop(self) -> None:
        """Ask the server to end (SIGTERM), and kill it if it takes too long. Its data stay."""
        self._signal(signal.SIGTERM)
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.stop_timeout)
        self.kill()

    def kill(self) -> None:
        """End the server without warning (SIGKILL), as a power cut would. Its data stay."""
        if self.process is None:
            return
        self._signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        reaper.forget(self.process.pid)
        self.process = None

    def restart(self) -> Self:
        """Start again on the same data and ports, killing the process first if it still runs."""
        self.kill()
        return self.start()

    def pause(self) -> None:
        """Stop the process where it is (SIGSTOP): connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its data (kept when ``FRAZIL_KEEP=1``, for looking into them)."""
        self.kill()
        if os.environ.get("FRAZIL_KEEP") != "1":
            shutil.rmtree(self.data, ignore_errors=True)

    def log_tail(self, lines: int = 30) -> str:
        """The end of the server's log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not self.ready():
            if not self.running:
                code = self.process.returncode if self.process else None
                raise RuntimeError(f"{self.name} ended with code {code} while starting; its log:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                waited = f"{self.start_timeout:.0f} s"
                raise TimeoutError(f"{self.name} was not ready in {waited}; its log:\n{self.log_tail()}")
            time.sleep(0.05)
        if not self.running:  # something else answered on its port
            raise RuntimeError(f"{self.name} ended while starting; its log:\n{self.log_tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _scratch(self) -> Path:
        scratch = self.data / "tmp"
        scratch.mkdir(exist_ok=True)
        return scratch

    def _pipe(self) -> tuple[IO[str], IO[str]]:
        if self.process is None or self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError(f"{self.name} is not running")
        return self.process.stdin, self.process.stdout
