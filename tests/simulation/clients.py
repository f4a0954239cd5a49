"""Those who use the pipeline: clients that repeat themselves, and an operator."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from application.complete_upload import CompleteUpload
from application.reprocess_media import ReprocessMedia
from application.request_upload import RequestUpload, UploadTerms
from domain.errors import Unavailable, UploadExpired
from domain.media import UPLOAD_GRACE_SECONDS, Media

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_BYTES = 1000
ARRIVAL_SECONDS = 42.0
PHOTOS = (b"photo",) * 6 + (b"crash", b"fail:image-corrupt", b"fail:decoder-crashed")


class Users:
    """`waiting` counts the clients that are not answered yet."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.waiting = 0

    async def upload(self, number: int) -> None:
        """Uploads a photo and completes it until it is told so, at times twice at once.

        A few never complete, and their upload must expire; a few try when it is nearly too late.
        """
        await asyncio.sleep(self._world.random.random() * ARRIVAL_SECONDS)
        terms = UploadTerms(max_bytes=MAX_BYTES, link_seconds=5)
        request = RequestUpload(
            database=self._world.database,
            signer=self._world.store,
            ids=self._world.ids,
            terms=terms,
        )
        body = self._world.random.choice(PHOTOS) if number else b"photo"
        ticket = await self._until_answered(
            lambda: request(content_type="image/jpeg", file_name=f"{number}.jpg")
        )
        self._world.store.store(ticket.media.original_key, body, "image/jpeg")
        patience = self._world.random.random()
        if patience < 0.02:
            self.waiting -= 1
            return
        if patience < 0.06:
            # Just about when the upload expires: one of the two must win, not both.
            await asyncio.sleep(UPLOAD_GRACE_SECONDS + self._world.random.uniform(-10, 20))
        complete = CompleteUpload(
            database=self._world.database,
            store=self._world.store,
            policy=self._world.policy,
            max_bytes=MAX_BYTES,
        )
        media = ticket.media

        async def call() -> Media:
            completion = await complete(
                media_id=media.id, original_key=media.original_key, traceparent=None
            )
            return completion.media

        twice = self._world.random.random() < 0.3
        calls = [self._until_answered(call) for _ in range(2 if twice else 1)]
        with suppress(UploadExpired):
            for answer in await asyncio.gather(*calls):
                self._world.accepted[answer.id] = answer
            if self._world.random.random() < 0.5:
                await asyncio.sleep(self._world.random.random() * 20)
                await self._until_answered(call)
        self.waiting -= 1

    async def operate(self) -> None:
        """Looks at what failed, and wants another go at some of it."""
        reprocess = ReprocessMedia(database=self._world.database, policy=self._world.policy)
        while self._world.faults.on:
            await asyncio.sleep(self._world.random.uniform(5, 25))
            for media in await self._world.database.overview.failed(code=None, limit=3):
                if self._world.random.random() < 0.3:
                    with suppress(Unavailable):
                        await reprocess(media.id)

    async def _until_answered(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Call in the name of a living API process; again if it dies, or says "not now"."""
        while True:
            if not self._world.processes["api"]:
                await asyncio.sleep(1.0)
                continue
            process = self._world.random.choice(self._world.processes["api"])
            task = self._world.loop.spawn(process, call())
            try:
                return await asyncio.wait_for(asyncio.shield(task), timeout=5.0)
            except (Unavailable, TimeoutError):
                await asyncio.sleep(self._world.random.random() * 3)
