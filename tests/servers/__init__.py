"""The real servers that the tests, the benchmarks and a curious developer talk to.

Plain processes on loopback, no containers: each is fetched once, started on free ports when it is first
needed, and ended with its process group. By hand: ``python -m tests.servers kafka apicurio``.
"""

from __future__ import annotations

from .apicurio import Apicurio
from .base import Server, free_ports
from .iceberg_rest import IcebergRest
from .install import Unavailable
from .kafka import Kafka
from .kafka_secure import SecureKafka
from .seaweedfs import SeaweedFS
from .spark import Spark, SparkError

__all__ = [
    "Apicurio",
    "IcebergRest",
    "Kafka",
    "SeaweedFS",
    "SecureKafka",
    "Server",
    "Spark",
    "SparkError",
    "Unavailable",
    "free_ports",
]
