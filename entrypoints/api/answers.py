"""An answer that is ready to send. Handlers return it as it is; the framework adds nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

JSON = "application/json"
NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers as one ASGI application. A HEAD gets the headers only."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self.status,
            "headers": self._raw_headers(),
        }
        await send(start)
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        body: HTTPResponseBodyEvent = {
            "type": "http.response.body",
            "body": b"" if is_head else self.body,
            "more_body": False,
        }
        await send(body)

    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        raw = [(b"content-length", str(len(self.body)).encode())]
        if self.body:
            raw.append((b"content-type", self.content_type.encode()))
        raw += [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers.items()
        ]
        return raw
