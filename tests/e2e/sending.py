"""What a client does with a photo, in whole steps."""

from typing import Any

from entrypoints.client import Document
from tests.support.systems import System


async def uploaded(
    system: System, photo: bytes, *, content_type: str = "image/jpeg", **more: Any
) -> Document:
    """The ticket of a photo that has been PUT."""
    client = system.client()
    fields = {"file_name": "test.jpg", **more}
    ticket = await client.request_upload(content_type=content_type, **fields)
    await client.put(ticket, photo)
    return ticket


async def accepted(system: System, photo: bytes, **more: Any) -> str:
    """The media id of a photo that the product has promised to finish."""
    ticket = await uploaded(system, photo, **more)
    await system.client().complete(ticket)
    return ticket["media_id"]


async def finished(
    system: System, photo: bytes, *, timeout_seconds: float = 60.0, **more: Any
) -> Document:
    media_id = await accepted(system, photo, **more)
    return await system.client().finished(media_id, timeout_seconds=timeout_seconds)
