"""Jobs: the document, running one to its end, and the handle of one that goes on."""

import atexit
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from frazil import progress as _progress
from frazil._interrupt import interruptible
from frazil.exceptions import ConfigError, NotFoundError
from frazil.status import JobStatus

if TYPE_CHECKING:
    from frazil import _core

# Short enough that Ctrl-C feels immediate, long enough to cost nothing.
_SLICE_SECONDS = 0.2


class JobDocument(dict[str, Any]):
    """A job document: a plain dict that does not show its secrets.

    `json.dumps` and `yaml.safe_dump(dict(document))` write it out as it is, secrets included where they were given as
    text instead of `${env:NAME}`.
    """

    def __repr__(self) -> str:
        from frazil import _core

        try:
            return f"JobDocument({_core.validate_job(dict(self))!r})"
        except Exception as error:  # A repr never fails.
            return f"<JobDocument that is not valid: {error}>"

    __str__ = __repr__


def load(job: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any] | str:
    """A job document from a mapping, YAML or JSON text, or the path of a file with such text.

    Text is taken for a path unless it has several lines or begins with `{`.

    Raises:
        NotFoundError: If there is no such file.
    """
    if isinstance(job, Mapping):
        return dict(job)
    if isinstance(job, str) and ("\n" in job or job.lstrip().startswith("{")):
        return job
    path = Path(job).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"expected the path of a job file, found nothing at '{path}'", {"path": str(path)}
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"expected the path of a job file, found the directory '{path}'") from None
    except UnicodeDecodeError:
        raise ConfigError(f"expected a job file in UTF-8, '{path}' is not") from None


def start(job: Mapping[str, Any] | str | os.PathLike[str]) -> "StreamHandle":
    """Starts a job in the background.

    Args:
        job: A job document as a mapping, as YAML text, or the path of a YAML file.

    Returns:
        A handle, to look at the job and to stop it.

    Raises:
        ConfigError: If the document is wrong; the text begins with the path of what is wrong.
        FrazilError: If the source or the table cannot be opened.
    """
    from frazil import _core

    document = load(job)
    return StreamHandle(interruptible(lambda: _core.Job.start(document), lambda late: late.stop()))


def run(job: Mapping[str, Any] | str | os.PathLike[str], *, progress: bool | None = None) -> JobStatus:
    """Runs a job to its end: what `frazil run job.yaml` does.

    A job with `trigger: {every: …}` ends when it is stopped. Ctrl-C stops it: what was read is committed, then
    KeyboardInterrupt is raised. A second Ctrl-C does not wait.

    Args:
        job: A job document as a mapping, as YAML text, or the path of a YAML file.
        progress: False to show none.

    Returns:
        What was done.

    Raises:
        ConfigError: If the document is wrong; the text begins with the path of what is wrong.
        FrazilError: If the job failed.

    Example:
        >>> import frazil
        >>> frazil.run({"sink": {"tabel": "shop.sales"}})
        Traceback (most recent call last):
        ...
        frazil.exceptions.ConfigError: ...
    """
    handle = start(job)
    status = handle._until_end(None, progress)
    assert status is not None, "without a timeout, waiting ends with the job"
    return status


class StreamHandle:
    """A job that runs in the background of this process.

    It goes on until it is stopped, whether the handle is kept or not; when the process ends in an orderly way, it is
    stopped first. As a context manager it stops at the end of the block.

    Example:
        ::

            with lake.read_stream(events).write("shop.sales", every="1s") as stream:
                stream.wait(60)
                print(stream.status())
    """

    def __init__(self, job: "_core.Job") -> None:
        self._job = job
        _keep(self)

    def status(self) -> JobStatus:
        """What it has done so far; asks no server."""
        return JobStatus.from_dict(self._job.status())

    def stop(self) -> None:
        """Asks it to stop: it reads no more, commits what it has read, and ends. Does not wait; `wait()` does."""
        self._job.stop()

    def wait(self, timeout: float | None = None, *, progress: bool | None = False) -> JobStatus | None:
        """Waits for its end.

        Ctrl-C stops the waiting, not the job.

        Args:
            timeout: How many seconds to wait at most.
            progress: True to show progress meanwhile.

        Returns:
            What was done, or None if the time ran out first.

        Raises:
            FrazilError: If the job failed.
        """
        return self._until_end(timeout, progress, drain=False)

    def _until_end(self, timeout: float | None, progress: bool | None, drain: bool = True) -> JobStatus | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        shown = _progress.reporter(progress)
        interrupted = False
        final: JobStatus | None = None
        try:
            while True:
                try:
                    left = _SLICE_SECONDS if deadline is None else deadline - time.monotonic()
                    ended = self._job.wait(max(0.0, min(left, _SLICE_SECONDS)))
                    if ended is not None:
                        final = JobStatus.from_dict(ended)
                        break
                    if deadline is not None and time.monotonic() >= deadline:
                        break
                    shown.update(self.status())
                except KeyboardInterrupt:
                    if interrupted or not drain:
                        raise
                    interrupted = True
                    self._job.stop()
        finally:
            shown.close(final or self.status())
        if interrupted:
            raise KeyboardInterrupt
        return final

    def __enter__(self) -> "StreamHandle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._job.stop()
        try:
            self._until_end(None, False, drain=False)
        except Exception as ending:
            if error is None:
                raise
            # The error of the block is the one to see; the job's own stands beside it.
            error.add_note(f"and the job failed: {ending}")

    def __repr__(self) -> str:
        return f"<stream {self.status().line()}>"

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()


_kept: set[StreamHandle] = set()
_kept_lock = threading.Lock()


def _keep(handle: StreamHandle) -> None:
    with _kept_lock:
        _kept.difference_update([other for other in _kept if other.status().ended])
        _kept.add(handle)


@atexit.register
def _stop_all() -> None:
    with _kept_lock:
        running = [handle for handle in _kept if not handle.status().ended]
        _kept.clear()
    for handle in running:
        handle.stop()
    for handle in running:
        try:
            handle.wait()
        except Exception as error:  # Too late for anybody to catch.
            _progress.say(f"{handle.status().table}: {error}")
