"""A database of its own for each test that is about PostgreSQL itself."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from adapters.postgres.connections import Connection, connect_alone
from adapters.postgres.database import PostgresDatabase
from domain.media import Media


@asynccontextmanager
async def empty_database(url: str) -> AsyncGenerator[str]:
    """The URL of a new database, dropped at the end with whoever is still connected."""
    name = f"test_{uuid4().hex}"
    admin = await connect_alone(url, seconds=10.0)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        admin.terminate()


@asynccontextmanager
async def connection(url: str) -> AsyncGenerator[Connection]:
    """A plain connection, to look behind the ports."""
    plain = await connect_alone(url, seconds=10.0)
    try:
        yield plain
    finally:
        plain.terminate()


@asynccontextmanager
async def connected(url: str, **limits: float) -> AsyncGenerator[PostgresDatabase]:
    """The set on this URL; `limits` in seconds. Asserts that no connection was kept."""
    database = await PostgresDatabase.connect(url, **limits)  # pyright: ignore[reportArgumentType] - pool_size is never among them
    try:
        yield database
        assert database.connections_in_use == 0
    finally:
        await database.close()


async def store(database: PostgresDatabase, media: Media) -> None:
    async with database.begin() as uow:
        await uow.media.add(media)
        await uow.commit()


async def load(database: PostgresDatabase, media_id: str) -> Media:
    async with database.begin() as uow:
        media = await uow.media.get(media_id)
    assert media is not None
    return media


def touched(media: Media) -> Media:
    """A later version of the media that differs in nothing else that matters."""
    return replace(media, version=media.version + 1)
