"""The five servers that tests run against: how each is found, started and asked.

`find` answers where the program is, `how_to_get` says what to do when it is not.
"""

import os
import pwd
import signal
import socket
import subprocess
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import Server, answers_http, find_program, free_port

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"


class KnownServer(Server):
    """A server whose program may be missing."""

    how_to_get: str

    @staticmethod
    @abstractmethod
    def find() -> Path | None:
        """The program, or None."""


def binaries() -> Path:
    """Where `.ci/run` keeps the servers that it builds."""
    default = Path.home() / ".cache" / "image-pipeline" / "bin"
    return Path(os.environ.get("IMAGE_PIPELINE_BIN", default))


class Postgres(KnownServer):
    """PostgreSQL with everything that keeps data safe switched on, as in production."""

    name = "postgres"
    how_to_get = (
        "apt-get install postgresql, or set TEST_DATABASE_URL to one that docker compose runs"
    )
    stop_signal = signal.SIGINT  # the other one waits for the clients to leave

    def __init__(self) -> None:
        # The server refuses to run as root.
        self.user = _unprivileged_user() if os.geteuid() == 0 else None
        super().__init__()
        self.data = self.folder / "data"

    @staticmethod
    def find() -> Path | None:
        return _postgres_program("postgres")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        if not self.data.exists():
            self._initialise()
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "shared_buffers": "64MB",
            "max_connections": 200,
        }
        options = [part for item in settings.items() for part in ("-c", "{}={}".format(*item))]
        return [str(self.find()), "-D", str(self.data), *options]

    def is_ready(self) -> bool:
        asked = [
            str(_postgres_program("pg_isready")),
            "-q",
            "-t",
            "1",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        return subprocess.run(asked, check=False).returncode == 0

    def _initialise(self) -> None:
        command = [str(_postgres_program("initdb")), "-D", str(self.data), "-U", "postgres"]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        if self.spawn(command, {}).wait() != 0:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")


class RabbitMq(KnownServer):
    """One RabbitMQ node with an epmd of its own, so it meets no other node of the machine."""

    name = "rabbitmq"
    how_to_get = (
        "apt-get install rabbitmq-server, or set TEST_RABBITMQ_URL to one that docker compose runs"
    )

    def __init__(self) -> None:
        super().__init__()
        self._epmd_port, self._dist_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")

    @staticmethod
    def find() -> Path | None:
        # The script that Debian has on PATH insists on a user of its own; this one does not.
        packaged = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        return packaged if packaged.exists() else find_program("rabbitmq-server")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        if self._epmd is None:
            epmd = str(find_program("epmd") or "epmd")
            self._epmd = self.spawn([epmd, "-port", str(self._epmd_port)], {})
        return [str(self.find())]

    def environment(self) -> Mapping[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            # Schedulers that find no work sleep instead of spinning.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def is_ready(self) -> bool:
        """The listener opens last; an AMQP greeting is answered with a method frame."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def close(self) -> None:
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        super().close()


class Minio(KnownServer):
    """MinIO with one drive."""

    name = "minio"
    how_to_get = (
        ".ci/install-services, or set TEST_MINIO_ENDPOINT (and TEST_MINIO_ACCESS_KEY, "
        "TEST_MINIO_SECRET_KEY) to one that docker compose runs"
    )

    @staticmethod
    def find() -> Path | None:
        return find_program("minio", [binaries()])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        data = str(self.folder / "data")
        return [str(self.find()), "server", data, "--address", address, "--quiet"]

    def environment(self) -> Mapping[str, str]:
        return {
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "HOME": str(self.folder),
        }

    def is_ready(self) -> bool:
        return answers_http(f"{self.endpoint}/minio/health/cluster")


class Jaeger(KnownServer):
    """Jaeger in one process: takes OTLP over HTTP, answers queries as JSON."""

    name = "jaeger"
    how_to_get = ".ci/install-services"

    def __init__(self) -> None:
        super().__init__()
        self._query_port = free_port()

    @staticmethod
    def find() -> Path | None:
        return find_program("jaeger", [binaries()])

    @property
    def otlp_endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT with the protocol http/protobuf."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def query_url(self) -> str:
        """Base of the query API, such as `/api/traces/{id}`."""
        return f"http://127.0.0.1:{self._query_port}"

    def command(self) -> list[str]:
        listeners = {
            "collector.otlp.http.host-port": self.port,
            "query.http-server.host-port": self._query_port,
        }
        unused = ["collector.otlp.grpc", "collector.http-server", "collector.grpc-server"]
        unused += ["admin.http", "query.grpc-server", "http-server"]
        listeners |= {f"{name}.host-port": free_port() for name in unused}
        udp = [f"processor.{name}.server-host-port" for name in _AGENT_PROCESSORS]
        listeners |= {name: free_port() for name in udp}
        return [str(self.find()), *(f"--{n}=127.0.0.1:{p}" for n, p in listeners.items())]

    def is_ready(self) -> bool:
        return answers_http(f"{self.query_url}/api/services")


class Toxiproxy(KnownServer):
    """A proxy that can cut, slow and stall connections; steered over HTTP at `api_url`."""

    name = "toxiproxy"
    how_to_get = ".ci/install-services"

    @staticmethod
    def find() -> Path | None:
        return find_program("toxiproxy-server", [binaries()])

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(self.find()), "-host", "127.0.0.1", "-port", str(self.port)]

    def is_ready(self) -> bool:
        return answers_http(f"{self.api_url}/version")


_AGENT_PROCESSORS = ("jaeger-binary", "jaeger-compact", "zipkin-compact")


def _postgres_program(name: str) -> Path | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return find_program(name, versions)


def _unprivileged_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
