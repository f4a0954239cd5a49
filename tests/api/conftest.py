"""The API over real HTTP, on each set. Every answer is held against the OpenAPI document."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.filesystem import FilesystemStore
from adapters.system import SystemIds, utc_now
from application.complete_upload import CompleteUpload
from application.get_media import GetMedia
from application.request_upload import RequestUpload, UploadTerms
from entrypoints.api.app import ApiParts, create_app
from tests.api.client import Api, connected
from tests.api.serving import serving
from tests.support.builders import POLICY, TRACEPARENT
from tests.support.clients import HttpClient
from tests.support.services import Services
from tests.support.sets import SET_NAMES, DatabasePorts, SetName, Sets, StorePorts

MAX_BYTES = 3_000_000
LINK_SECONDS = 900
DOWNLOAD_SECONDS = 3600
SECRET = b"a secret of more than thirty-two bytes"
METRICS = b"# HELP one One.\none 1\n"


# One server for the tests of a module: each test uses media of its own.
@pytest.fixture(scope="module", params=SET_NAMES)
async def api(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Api]:
    async with api_on(request.param, services, tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture(scope="module")
async def embedded(
    services: Services, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Api]:
    """The set whose store is served by the API itself."""
    async with api_on("embedded", services, tmp_path_factory.mktemp("api")) as api:
        yield api


@asynccontextmanager
async def api_on(
    name: SetName, services: Services, folder: Path, **changes: Any
) -> AsyncGenerator[Api]:
    """`changes` replace fields of ApiParts."""
    async with Sets(services, folder).open(name) as opened:
        stores = opened.stores

        def make_app(url: str) -> Any:
            nonlocal stores
            if name == "embedded":
                stores = _files(folder / "store", url)
            return create_app(_parts(opened.databases, stores, **changes))

        async with (
            serving(make_app) as url,
            connected(url, folder, opened.databases, stores) as api,
        ):
            if isinstance(stores.store, FilesystemStore):
                await stores.store.open()
            yield api


def _files(root: Path, url: str) -> StorePorts:
    store = FilesystemStore(root, url, SECRET, clock=utc_now, max_bytes=MAX_BYTES)
    return StorePorts(store=store, signer=store, client=HttpClient(), dependency=store)


def _parts(databases: DatabasePorts, stores: StorePorts, **changes: Any) -> ApiParts:
    database = databases.database
    parts: dict[str, Any] = {
        "request_upload": RequestUpload(
            database=database,
            signer=stores.signer,
            ids=SystemIds(),
            terms=UploadTerms(max_bytes=MAX_BYTES, link_seconds=LINK_SECONDS),
        ),
        "complete_upload": CompleteUpload(
            database=database, store=stores.store, policy=POLICY, max_bytes=MAX_BYTES
        ),
        "get_media": GetMedia(database=database),
        "signer": stores.signer,
        "attempts_max": POLICY.attempts_max,
        "download_seconds": DOWNLOAD_SECONDS,
        "clock": utc_now,
        "dependencies": [databases.dependency, stores.dependency],
        "metrics": lambda: (METRICS, "text/plain; version=0.0.4; charset=utf-8"),
        "current_traceparent": lambda: TRACEPARENT,
        "objects": stores.store if isinstance(stores.store, FilesystemStore) else None,
    }
    return ApiParts(**{**parts, **changes})
