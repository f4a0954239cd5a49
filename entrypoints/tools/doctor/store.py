"""The object store as our processes use it, and as a client does with the links we sign."""

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from adapters.filesystem import FilesystemStore
from adapters.minio import MinioStore
from adapters.system import SystemIds, utc_now
from application.ports import ObjectStore
from domain.errors import InvalidConfiguration, ProcessingFailed, StoreUnavailable
from domain.failure import FailureCode
from entrypoints.settings import Settings
from entrypoints.tools.doctor.findings import (
    Finding,
    Findings,
    address,
    failed,
    ok,
    unreachable,
)
from entrypoints.tools.doctor.links import BODY, LinkTrial, Public

CHECK = "store"
SECONDS = aiohttp.ClientTimeout(total=10)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


async def examine_minio(settings: Settings) -> Findings:
    try:
        store = MinioStore(
            settings.minio_endpoint,
            settings.store_url,
            settings.minio_access_key,
            settings.minio_secret_key,
            settings.minio_bucket,
            clock=utc_now,
            region=settings.minio_region,
        )
    except InvalidConfiguration as error:
        yield failed(CHECK, " ".join(error.problems), "Correct MINIO_ENDPOINT.")
        return
    await store.open()
    try:
        bucket = await _bucket(store, settings)
        yield bucket
        if not bucket.remedy:
            async for finding in examine_links(store, settings, minio_public(settings)):
                yield finding
    finally:
        await store.close()


async def examine_links(
    store: MinioStore | FilesystemStore, settings: Settings, public: Public
) -> Findings:
    """One small object, sent and fetched as a client and a worker do; it is removed again."""
    key = f"media/{SystemIds().media_id()}/original.jpg"
    try:
        async with aiohttp.ClientSession(timeout=SECONDS) as session:
            trial = LinkTrial(store, session, public, key)
            async for finding in trial.run(settings.cors_origins):
                yield finding
        if trial.is_stored:
            yield await _pinned(store, key)
            await store.delete([key])
    except StoreUnavailable as error:
        yield failed(CHECK, f"{error}.", "Give the access key the right to read and delete.")


def minio_public(settings: Settings) -> Public:
    """In a container, a public `localhost` is another machine: there is a way round by name."""
    name = urlsplit(settings.store_url).hostname
    inner = urlsplit(settings.minio_endpoint).hostname
    detour = settings.minio_endpoint if name in _LOOPBACK and inner not in _LOOPBACK else None
    return Public(
        url=settings.store_url,
        setting="MINIO_PUBLIC_ENDPOINT" if settings.minio_public_endpoint else "MINIO_ENDPOINT",
        detour=detour,
        cors_remedy=(
            "Set MINIO_API_CORS_ALLOW_ORIGIN of MinIO, or the CORS rules of the bucket elsewhere."
        ),
        nobody_remedy=(
            "Set MINIO_PUBLIC_ENDPOINT to the address at which clients reach the store."
        ),
    )


async def _bucket(store: MinioStore, settings: Settings) -> Finding:
    where, bucket = address(settings.minio_endpoint), settings.minio_bucket
    try:
        await store.check()
    except StoreUnavailable as error:
        text = str(error)
        if "does not exist" in text:
            sentence = f"The store at {where} has no bucket {bucket}."
            return failed(CHECK, sentence, "Run `pipeline migrate`, or correct MINIO_BUCKET.")
        if "refuses our key" in text:
            return failed(
                CHECK,
                f"The store at {where} refuses the access key or the secret key.",
                "Correct MINIO_ACCESS_KEY and MINIO_SECRET_KEY; check the clock of this machine.",
            )
        network = unreachable(CHECK, error, settings.minio_endpoint, "MINIO_ENDPOINT")
        return network or failed(CHECK, f"{text}.", "Check that MINIO_ENDPOINT is an S3 store.")
    return ok(CHECK, f"The store answers at {where} and has the bucket {bucket}.")


async def _pinned(store: ObjectStore, key: str) -> Finding:
    """A worker reads the very object that was completed, and no other."""
    check = "pinned read"
    found = await store.head(key)
    if found is None:
        return failed(
            check,
            "What a client has uploaded is not where a worker looks: these are two stores.",
            "Let both endpoints lead to the same store.",
        )
    with tempfile.TemporaryDirectory(prefix="image-pipeline-doctor-") as folder:
        try:
            etag, size = found.etag, len(BODY)
            await store.download(key, etag=etag, to=Path(folder) / "right", max_bytes=size)
            await store.download(key, etag="0" * 32, to=Path(folder) / "wrong", max_bytes=size)
        except ProcessingFailed as error:
            if error.code is FailureCode.ORIGINAL_CHANGED:
                return ok(check, "A worker reads the object that was completed, and no other.")
            return failed(check, f"A worker cannot read it: {error}.", "Check the access key.")
    return failed(
        check,
        "The store gives an object out although its ETag is another one.",
        "Use a store that honours If-Match on GET.",
    )
