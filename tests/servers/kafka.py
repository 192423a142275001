"""Apache Kafka: one broker that is its own controller (KRaft)."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, ClassVar

from . import versions
from .base import HOST, Server, free_ports, listens
from .install import install, jdk, maven_jars, run
from .jvm import java

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_JARS = (
    f"org.apache.kafka:kafka_2.13:{versions.KAFKA}",
    f"org.slf4j:slf4j-simple:{versions.KAFKA_SLF4J}",
)


class Kafka(Server):
    """A broker on loopback. Topics are made by the tests, never by accident."""

    name: ClassVar[str] = "kafka"

    def __init__(self, *, heap: str = "512m", overrides: dict[str, str] | None = None) -> None:
        """``overrides`` are broker settings that win over the ones of this class."""
        super().__init__()
        self.port, self.controller_port = free_ports(2)
        self.bootstrap = f"{HOST}:{self.port}"
        self.heap = heap
        self.overrides = overrides or {}

    def install(self) -> None:
        self.java_home = jdk(versions.KAFKA_JDK)
        self.home = install("kafka", "\n".join(_JARS), lambda target: maven_jars(target, *_JARS))

    def prepare(self) -> None:
        settings = self.data / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self._settings().items()))
        if not (self.data / "logs" / "meta.properties").exists():
            # Any 16 bytes are a cluster id; making them here saves a second start of the JVM.
            cluster = base64.urlsafe_b64encode(b"\0" + os.urandom(15)).decode().rstrip("=")
            tool = [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
            run([*tool, *self._format_options()], cwd=self.data)

    def command(self) -> list[str]:
        return [*self._java(), "kafka.Kafka", str(self.data / "server.properties")]

    def ready(self) -> bool:
        return listens(self.port)

    def addresses(self) -> dict[str, str]:
        return {"bootstrap": self.bootstrap}

    def admin(self) -> AdminClient:
        """An independent client for administration."""
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap})

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic and return its name. Settings have ``_`` for ``.``: ``retention_ms="1000"``."""
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = self.admin()  # it must outlive its answers
        for future in admin.create_topics([NewTopic(name, partitions, 1, config=settings)]).values():
            future.result(30)
        return name

    def _format_options(self) -> list[str]:
        return []

    def _java(self) -> list[str]:
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [*java(self.java_home, self.data, heap=self.heap), "-cp", f"{self.home}/*", level]

    def _settings(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.data / "logs"),
            "auto.create.topics.enable": "false",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "background.threads": "2",
            # Small internal topics and no wait for more members: a group is ready at once.
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker may come back as soon as its last session is over (9 s by default).
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.dedupe.buffer.size": "4194304",
            **self.overrides,
        }
