"""Runs servers by hand until ^C: ``python -m tests.servers kafka apicurio seaweedfs``."""

from __future__ import annotations

import argparse
import contextlib
import signal

from . import Apicurio, IcebergRest, Kafka, SeaweedFS, SecureKafka, Server

_SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (Kafka, SecureKafka, SeaweedFS, IcebergRest, Apicurio)}


def main() -> None:
    """Start the named servers, print their addresses, and wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("servers", nargs="+", choices=_SERVERS, metavar="SERVER", help=", ".join(_SERVERS))
    parser.add_argument("--install-only", action="store_true", help="fetch what they need and end")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as running:
        for name in chosen.servers:
            server = _SERVERS[name]()
            running.callback(server.close)
            if chosen.install_only:
                server.install()
                continue
            server.start()
            print(f"{name} (pid {server.pid}, ready in {server.started_in:.1f} s)", flush=True)
            for key, value in server.addresses().items():
                print(f"  {key}: {value}", flush=True)
        if not chosen.install_only:
            print("^C ends them.", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
