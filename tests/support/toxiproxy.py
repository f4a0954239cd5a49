"""Faults on the way between the product and a server, made by Toxiproxy."""

import json
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.support.process import free_port
from tests.support.servers import Toxiproxy


@dataclass(frozen=True)
class Link:
    """One proxied way to a server, on a port of its own."""

    api_url: str
    name: str
    port: int

    def lead(self, url: str) -> str:
        """The URL of something on that server, by way of this link."""
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}"))

    def cut(self) -> None:
        """Connections end, new ones are refused: the server is down."""
        self.call("POST", f"/proxies/{self.name}", {"enabled": False})

    def mend(self) -> None:
        """As if nothing had been."""
        self.call("POST", f"/proxies/{self.name}", {"enabled": True})
        for stream in ("upstream", "downstream"):
            self.call("DELETE", f"/proxies/{self.name}/toxics/{stream}", missing_is_fine=True)

    def swallow(self) -> None:
        """Connections stay open, new ones are accepted, and nothing ever comes through."""
        for stream in ("upstream", "downstream"):
            toxic: dict[str, Any] = {"name": stream, "type": "timeout", "stream": stream}
            toxic |= {"attributes": {"timeout": 0}}
            self.call("POST", f"/proxies/{self.name}/toxics", toxic)

    def close(self) -> None:
        self.call("DELETE", f"/proxies/{self.name}")

    def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        missing_is_fine: bool = False,
    ) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api_url + path, data=data, method=method)
        try:
            urllib.request.urlopen(request, timeout=5.0).close()
        except urllib.error.HTTPError as error:
            error.close()
            if not (missing_is_fine and error.code == 404):
                raise


def link_to(toxiproxy: Toxiproxy, url: str) -> Link:
    """A way to the server at `url`, which names a port. To be closed."""
    parts = urlsplit(url)
    link = Link(toxiproxy.api_url, f"link-{secrets.token_hex(4)}", free_port())
    link.call(
        "POST",
        "/proxies",
        {
            "name": link.name,
            "listen": f"127.0.0.1:{link.port}",
            "upstream": f"{parts.hostname}:{parts.port}",
        },
    )
    return link
