"""Kafka behind TLS and a password, as it is found outside of tests."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from .base import HOST, free_ports
from .install import run
from .kafka import Kafka


class SecureKafka(Kafka):
    """A broker with one more listener (``secure_bootstrap``): SASL (PLAIN and SCRAM-SHA-512) over TLS.

    The certificate is signed by itself; ``ca_file`` is what a client must trust. The open listener of
    `Kafka` is there as well, for the tests' own needs.
    """

    name: ClassVar[str] = "kafka-secure"

    def __init__(self) -> None:
        super().__init__()
        (self.secure_port,) = free_ports(1)
        self.secure_bootstrap = f"{HOST}:{self.secure_port}"
        self.username = "frazil"
        self.password = secrets.token_hex(12)
        self.ca_file = self.data / "ca.pem"
        self.keystore = self.data / "keystore.p12"
        self.overrides = self._listener()

    def prepare(self) -> None:
        if not self.keystore.exists():
            keytool = str(self.java_home / "bin" / "keytool")
            store = ["-keystore", str(self.keystore), "-storepass", self.password, "-storetype", "PKCS12"]
            names = ["-dname", "CN=frazil-tests", "-ext", f"san=ip:{HOST},dns:localhost"]
            run([keytool, "-genkeypair", "-alias", "kafka", "-keyalg", "EC", "-validity", "2", *names, *store])
            run([keytool, "-exportcert", "-rfc", "-alias", "kafka", "-file", str(self.ca_file), *store])
        super().prepare()

    def addresses(self) -> dict[str, str]:
        return {**super().addresses(), **{key: str(value) for key, value in self.client_properties().items()}}

    def client_properties(self, mechanism: str = "PLAIN") -> dict[str, Any]:
        """How librdkafka's clients name all this."""
        return {
            "bootstrap.servers": self.secure_bootstrap,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca_file),
            "sasl.mechanism": mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password,
        }

    def _format_options(self) -> list[str]:
        return ["--add-scram", f"SCRAM-SHA-512=[name={self.username},password={self.password}]"]

    def _listener(self) -> dict[str, str]:
        prefix = "listener.name.secure"
        security = "org.apache.kafka.common.security"
        return {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self.controller_port},"
            f"SECURE://{self.secure_bootstrap}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap},SECURE://{self.secure_bootstrap}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
            f"{prefix}.ssl.keystore.location": str(self.keystore),
            f"{prefix}.ssl.keystore.password": self.password,
            f"{prefix}.ssl.keystore.type": "PKCS12",
            f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            f"{prefix}.plain.sasl.jaas.config": f"{security}.plain.PlainLoginModule required "
            f'user_{self.username}="{self.password}";',
            f"{prefix}.scram-sha-512.sasl.jaas.config": f"{security}.scram.ScramLoginModule required;",
        }
