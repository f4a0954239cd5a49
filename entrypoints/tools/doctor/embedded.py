"""The embedded set: its files, and the API that serves its links."""

from adapters.filesystem import FilesystemStore, load_or_create_secret
from adapters.sqlite import SqliteBroker, SqliteDatabase
from adapters.system import random_bytes, utc_now
from domain.errors import InvalidConfiguration, PipelineError
from entrypoints.settings import Settings
from entrypoints.tools.doctor.findings import Findings, failed, ok
from entrypoints.tools.doctor.links import Public
from entrypoints.tools.doctor.store import examine_links


async def examine_embedded(settings: Settings) -> Findings:
    root = settings.data_dir
    if not (root / "pipeline.db").exists():
        yield failed(
            "files",
            f"There is no embedded pipeline in {root.resolve()}.",
            "Start `pipeline embedded`, or set DATA_DIR to its folder.",
        )
        return
    try:
        database = await SqliteDatabase.open(root / "pipeline.db")
        try:
            await database.dependency.check()
        finally:
            await database.close()
        broker = await SqliteBroker.open(root / "queue.db")
        try:
            await broker.check()
        finally:
            await broker.close()
    except InvalidConfiguration as error:
        yield failed("files", " ".join(error.problems), "Start the release that wrote them.")
        return
    except (PipelineError, OSError) as error:
        remedy = f"Let this user write to {root.resolve()}, and see that there is space."
        yield failed("files", f"The database or the queue cannot be written: {error}.", remedy)
        return
    yield ok("files", f"The database and the queue in {root.resolve()} can be written.")
    async for finding in _links(settings):
        yield finding


async def _links(settings: Settings) -> Findings:
    store = FilesystemStore(
        settings.data_dir / "objects",
        settings.embedded_url,
        load_or_create_secret(settings.data_dir / "secret", random_bytes),
        clock=utc_now,
        max_bytes=settings.max_upload_bytes,
    )
    await store.open()
    public = Public(
        url=settings.embedded_url,
        setting="PUBLIC_URL" if settings.public_url else "API_PORT",
        cors_remedy="Set CORS_ORIGINS for `pipeline embedded`, and start it again.",
        nobody_remedy="Start `pipeline embedded`, with the same settings as this command.",
    )
    async for finding in examine_links(store, settings, public):
        yield finding
