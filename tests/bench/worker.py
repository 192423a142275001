"""One job in a process of its own: `python -m tests.bench.worker job.json`. The last line is what it took, as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import frazil


def main(path: str) -> None:
    """Runs the job to its end and prints its last status with the CPU time and peak memory of this process."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    status = frazil.run(json.loads(Path(path).read_text()), progress=False)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        json.dumps(
            {"seconds": seconds, "cpu_s": cpu, "peak_rss_mib": after.ru_maxrss / 1024, "status": status.to_dict()}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
