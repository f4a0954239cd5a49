"""The doctor on real servers: each thing is broken in turn, and the sentence is read."""

import dataclasses
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import aio_pika
import pytest

from adapters.postgres.connections import connect_alone
from adapters.postgres.migrations import migrate
from adapters.rabbitmq import trial
from adapters.rabbitmq.topology import EXCHANGE, process_arguments
from adapters.sandbox.engine import SandboxedEngine
from adapters.sandbox.lockdown import SandboxFeatures
from adapters.system import SystemIds
from application.ports import Queue
from domain.errors import PipelineError
from entrypoints import bootstrap
from entrypoints.settings import Engine, Role, Settings, load
from entrypoints.tools.doctor import run, store
from entrypoints.tools.doctor.broker import examine_broker
from entrypoints.tools.doctor.database import examine_database
from entrypoints.tools.doctor.embedded import examine_embedded
from entrypoints.tools.doctor.findings import Finding, Findings, Mark
from entrypoints.tools.doctor.links import BODY
from entrypoints.tools.doctor.machine import examine_machine
from tests.support.minio import answer, error_document, opened, scripted
from tests.support.rabbitmq import admin, fresh_topology, remove_topology
from tests.support.services import MinioAccess
from tests.support.sets import fresh_database

pytestmark = pytest.mark.anyio

NOBODY = "127.0.0.1:1"
Examine = Callable[[Settings], Findings]


def settings(**environ: str) -> Settings:
    """Servers that are not there, but for those that a test names."""
    defaults = {
        "DATABASE_URL": f"postgresql://postgres@{NOBODY}/postgres",
        "RABBITMQ_URL": f"amqp://guest:guest@{NOBODY}/",
        "MINIO_ENDPOINT": f"http://{NOBODY}",
        "MINIO_ACCESS_KEY": "access",
        "MINIO_SECRET_KEY": "s3cr3t-Zx9",
        "WORKER_CONCURRENCY": "1",
    }
    return load(Role.DOCTOR, defaults | environ)


async def findings(examine: Examine, chosen: Settings) -> list[Finding]:
    found = [finding async for finding in examine(chosen)]
    for finding in found:
        text = f"{finding.sentence} {finding.remedy}".strip()
        assert text.endswith(".")
        assert "\n" not in text
        assert "s3cr3t" not in text
        assert (finding.mark is Mark.OK) == (finding.remedy == "")
    return found


async def told(examine: Examine, chosen: Settings, check: str) -> str:
    """What is said of the check that fails, which is the only one."""
    [finding] = [one for one in await findings(examine, chosen) if one.mark is Mark.FAILED]
    assert finding.check == check
    return f"{finding.sentence} {finding.remedy}"


async def all_is_well(examine: Examine, chosen: Settings) -> list[str]:
    found = await findings(examine, chosen)
    assert [one for one in found if one.mark is not Mark.OK] == []
    return [one.check for one in found]


# --- database --------------------------------------------------------------------------------


@pytest.fixture
async def database(postgres_url: str) -> AsyncGenerator[str]:
    async with fresh_database(postgres_url) as url:
        yield url


async def test_a_migrated_database_is_fine(database: str) -> None:
    await migrate(database)
    checks = await all_is_well(examine_database, settings(DATABASE_URL=database))
    assert checks == ["database", "clock", "schema"]


async def test_a_database_that_is_not_migrated(database: str) -> None:
    text = await told(examine_database, settings(DATABASE_URL=database), "schema")
    assert "schema is at version 0" in text
    assert "Run `pipeline migrate`." in text


async def test_a_database_user_who_is_not_known(postgres_url: str) -> None:
    url = postgres_url.replace("//postgres@", "//nobody:s3cr3t@")
    text = await told(examine_database, settings(DATABASE_URL=url), "database")
    assert "refuses the user or the password" in text


async def test_a_database_that_does_not_exist(postgres_url: str) -> None:
    url = postgres_url.removesuffix("postgres") + "nowhere"
    text = await told(examine_database, settings(DATABASE_URL=url), "database")
    assert "has no database of the name in DATABASE_URL" in text
    assert "createdb" in text


async def test_a_closed_database_port() -> None:
    text = await told(examine_database, settings(), "database")
    assert text == f"Nobody listens at {NOBODY}. Start the server, or correct DATABASE_URL."


async def test_an_unknown_database_host() -> None:
    chosen = settings(DATABASE_URL="postgresql://db.invalid/x")
    text = await told(examine_database, chosen, "database")
    assert text.startswith("The host name db.invalid is not known here. ")


async def test_a_database_that_takes_no_writes(database: str) -> None:
    await migrate(database)
    name = database.rpartition("/")[2]
    connection = await connect_alone(database, seconds=5.0)
    try:
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    finally:
        connection.terminate()
    text = await told(examine_database, settings(DATABASE_URL=database), "database")
    assert "is read-only" in text


# --- broker ----------------------------------------------------------------------------------


async def test_a_broker_with_our_topology_is_fine(rabbitmq_url: str) -> None:
    await fresh_topology(rabbitmq_url)
    checks = await all_is_well(examine_broker, settings(RABBITMQ_URL=rabbitmq_url))
    assert checks == ["broker", "queues", "dead letters"]


async def test_the_doctor_does_not_touch_real_messages_and_leaves_nothing(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    original = trial.Trial.dead_letters_arrive

    async def remembering(self: trial.Trial, name: str) -> bool:
        names.append(name)
        return await original(self, name)

    monkeypatch.setattr(trial.Trial, "dead_letters_arrive", remembering)
    await fresh_topology(rabbitmq_url)
    async with admin(rabbitmq_url) as channel:
        exchange = await channel.get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(b"real"), Queue.PROCESS.value)
        await all_is_well(examine_broker, settings(RABBITMQ_URL=rabbitmq_url))
        message = await (await channel.get_queue(Queue.PROCESS.value)).get()
        assert message is not None
        assert (message.body, message.redelivered) == (b"real", False)
        await message.ack()
    [name] = names
    for queue in (f"{name}.process", f"{name}.dead"):
        async with admin(rabbitmq_url) as channel:
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.get_queue(queue)


@pytest.mark.parametrize("missing", Queue)
async def test_a_missing_queue_is_named_and_not_made(rabbitmq_url: str, missing: Queue) -> None:
    await fresh_topology(rabbitmq_url)
    async with admin(rabbitmq_url) as channel:
        await channel.queue_delete(missing.value)
    for _ in range(2):
        text = await told(examine_broker, settings(RABBITMQ_URL=rabbitmq_url), "queues")
        assert text == f"RabbitMQ does not have {missing}. Run `pipeline migrate`."


async def test_a_queue_of_another_shape(rabbitmq_url: str) -> None:
    await fresh_topology(rabbitmq_url)
    async with admin(rabbitmq_url) as channel:
        await channel.queue_delete(Queue.PROCESS.value)
        other = process_arguments(3)
        await channel.declare_queue(Queue.PROCESS.value, durable=True, arguments={**other})
    text = await told(examine_broker, settings(RABBITMQ_URL=rabbitmq_url), "queues")
    assert "with other arguments" in text
    await remove_topology(rabbitmq_url)


async def test_a_broker_that_drops_dead_letters(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fresh_topology(rabbitmq_url)

    def dropping() -> dict[str, str | int]:
        return {"x-queue-type": "classic", "x-max-length": 0}

    monkeypatch.setattr(trial, "dead_arguments", dropping)
    text = await told(examine_broker, settings(RABBITMQ_URL=rabbitmq_url), "dead letters")
    assert "does not reach the dead-letter queue" in text


async def test_a_wrong_broker_password(rabbitmq_url: str) -> None:
    url = rabbitmq_url.replace("guest:guest", "guest:s3cr3t")
    text = await told(examine_broker, settings(RABBITMQ_URL=url), "broker")
    assert "refuses the user or the password" in text


async def test_a_virtual_host_that_does_not_exist(rabbitmq_url: str) -> None:
    text = await told(examine_broker, settings(RABBITMQ_URL=f"{rabbitmq_url}nowhere"), "broker")
    assert "no virtual host of that name" in text


async def test_a_closed_broker_port() -> None:
    text = await told(examine_broker, settings(), "broker")
    assert text == f"Nobody listens at {NOBODY}. Start the server, or correct RABBITMQ_URL."


# --- store and links -------------------------------------------------------------------------


@pytest.fixture
async def bucket(minio: MinioAccess) -> AsyncGenerator[str]:
    name = f"doctor-{SystemIds().media_id().lower()}"
    async with opened(minio, bucket=name) as made:
        await made.create_bucket()
        yield name
        assert await made.list_keys("") == [], "the doctor has left something behind"


def of_store(minio: MinioAccess, bucket: str, **more: str) -> Settings:
    return settings(
        MINIO_ENDPOINT=minio.endpoint,
        MINIO_ACCESS_KEY=minio.access_key,
        MINIO_BUCKET=bucket,
        **{"MINIO_SECRET_KEY": minio.secret_key} | more,
    )


async def test_a_store_with_our_bucket_is_fine(minio: MinioAccess, bucket: str) -> None:
    checks = await all_is_well(store.examine_minio, of_store(minio, bucket))
    links = ["clock", "upload link", "write-once", "download link", "CORS", "pinned read"]
    assert checks == ["store", *links]


async def test_a_missing_bucket(minio: MinioAccess) -> None:
    text = await told(store.examine_minio, of_store(minio, "nowhere"), "store")
    assert "has no bucket nowhere. Run `pipeline migrate`" in text


async def test_a_wrong_secret_key(minio: MinioAccess, bucket: str) -> None:
    chosen = of_store(minio, bucket, MINIO_SECRET_KEY="s3cr3t-Zx9")
    text = await told(store.examine_minio, chosen, "store")
    assert "refuses the access key or the secret key" in text


async def test_a_closed_store_port() -> None:
    text = await told(store.examine_minio, settings(), "store")
    assert text == f"Nobody listens at {NOBODY}. Start the server, or correct MINIO_ENDPOINT."


async def test_a_public_endpoint_where_nobody_listens(minio: MinioAccess, bucket: str) -> None:
    chosen = of_store(minio, bucket, MINIO_PUBLIC_ENDPOINT=f"http://{NOBODY}")
    text = await told(store.examine_minio, chosen, "upload link")
    assert text.startswith(f"Clients cannot upload. Nobody listens at {NOBODY}.")
    assert "Set MINIO_PUBLIC_ENDPOINT" in text


async def test_links_for_the_localhost_of_another_machine_go_round(
    minio: MinioAccess, bucket: str
) -> None:
    chosen = of_store(minio, bucket, MINIO_PUBLIC_ENDPOINT="http://localhost:1")
    assert store.minio_public(chosen).detour is None, "both are this machine"
    public = dataclasses.replace(store.minio_public(chosen), detour=minio.endpoint)
    async with opened(minio, bucket=bucket, public_endpoint="http://localhost:1") as signing:
        found = [one async for one in store.examine_links(signing, chosen, public)]
    assert [one.mark for one in found] == [Mark.WARNING] + [Mark.OK] * 6
    assert "under that name" in found[0].sentence


async def test_inside_a_container_the_public_localhost_has_a_way_round() -> None:
    chosen = settings(
        MINIO_ENDPOINT="http://minio:9000", MINIO_PUBLIC_ENDPOINT="http://localhost:9000"
    )
    assert store.minio_public(chosen).detour == "http://minio:9000"


ALLOWED = ("Access-Control-Allow-Origin: *", "Access-Control-Allow-Methods: PUT, GET")
DENIED = answer("403 Forbidden", error_document("SignatureDoesNotMatch"))
PUT_ONCE = (answer("200 OK"), answer("412 Precondition Failed"))
GOT = answer("200 OK", BODY)


@pytest.mark.parametrize(
    ("answers", "check", "sentence"),
    [
        ((DENIED,), "upload link", "refuses a link that we have signed"),
        ((answer("405 Not Allowed"),), "upload link", "is answered with 405"),
        ((answer("200 OK"), answer("200 OK"), GOT), "write-once", "takes a second upload"),
        ((*PUT_ONCE, answer("200 OK", b"x")), "download link", "other bytes than were uploaded"),
        ((*PUT_ONCE, DENIED), "download link", "is answered with 403 SignatureDoesNotMatch"),
        ((*PUT_ONCE, GOT, answer("403 Forbidden")), "CORS", "does not allow pages of this origin"),
        ((*PUT_ONCE, GOT, answer("200 OK", b"", ALLOWED[0])), "CORS", "does not allow PUT"),
        ((*PUT_ONCE, GOT, answer("200 OK", b"", *ALLOWED)), "CORS", "does not allow the headers"),
        ((*PUT_ONCE, GOT), "pinned read", "these are two stores"),
        ((PUT_ONCE[0], None, None), "links", "breaks off an exchange"),
        (
            (answer("403 Forbidden", b"", "Date: Wed, 04 Mar 2026 05:06:07 GMT"),),
            "clock",
            "The clock of the store is ",
        ),
    ],
)
async def test_something_else_answers_at_the_public_endpoint(
    minio: MinioAccess, bucket: str, answers: tuple[bytes | None, ...], check: str, sentence: str
) -> None:
    rest = [answer("403 Forbidden")] * 4
    async with scripted(*answers, *rest) as (public, _):
        chosen = of_store(minio, bucket, MINIO_PUBLIC_ENDPOINT=public.endpoint)
        found = await findings(store.examine_minio, chosen)
    [finding] = [one for one in found if one.check == check]
    assert finding.mark is Mark.FAILED
    assert sentence in finding.sentence


# --- this machine, the embedded set, the command ----------------------------------------------


async def test_this_machine_decodes_every_type() -> None:
    found = await findings(examine_machine, settings())
    assert [one for one in found if one.mark is Mark.FAILED] == []


async def test_a_kernel_without_isolation_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SandboxFeatures(landlock_abi=0, seccomp=False, no_new_privs=False)
    monkeypatch.setattr("adapters.sandbox.engine.sandbox_features", lambda: nothing)
    found = await findings(examine_machine, settings())
    assert [one.check for one in found if one.mark is Mark.WARNING] == ["sandbox"] * 3


async def test_decoders_that_have_too_little_memory() -> None:
    chosen = settings(WORKER_MEMORY_BYTES="8", MAX_PIXELS="1")
    text = await told(examine_machine, chosen, "decoders")
    assert "image/jpeg (" in text
    assert "image/tiff (" in text


async def test_decoders_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = partial(SandboxedEngine, "adapters.no_such_decoder")
    monkeypatch.setitem(bootstrap.ENGINES, Engine.PILLOW, engine)
    text = await told(examine_machine, settings(), "decoders")
    assert text.startswith("Decoders do not start: ")


async def test_no_room_to_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    chosen = settings(SCRATCH_DIR=str(tmp_path / "file" / "scratch"))
    assert "Set SCRATCH_DIR" in await told(examine_machine, chosen, "scratch")


async def test_an_embedded_pipeline_that_was_never_started(tmp_path: Path) -> None:
    chosen = load(Role.DOCTOR, {"DATA_DIR": str(tmp_path)})
    text = await told(examine_embedded, chosen, "files")
    assert f"There is no embedded pipeline in {tmp_path}." in text
    assert list(tmp_path.iterdir()) == []


async def test_an_embedded_pipeline_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "pipeline.db").touch()
    chosen = load(Role.DOCTOR, {"DATA_DIR": str(tmp_path), "PUBLIC_URL": f"http://{NOBODY}"})
    text = await told(examine_embedded, chosen, "upload link")
    assert f"Nobody listens at {NOBODY}. Start `pipeline embedded`" in text


async def test_files_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "pipeline.db").write_bytes(b"this is no database" * 100)
    text = await told(examine_embedded, load(Role.DOCTOR, {"DATA_DIR": str(tmp_path)}), "files")
    assert "cannot be written" in text


async def test_the_command_shows_a_line_for_each_check_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def chosen(role: Role) -> Settings:
        return load(role, {"DATA_DIR": str(tmp_path)})

    def quiet(_: Settings) -> None:
        pass

    monkeypatch.setattr(run, "load", chosen)
    monkeypatch.setattr(run, "log_to_stderr", quiet)
    monkeypatch.setattr(run, "names_servers", lambda: False)
    with pytest.raises(PipelineError, match=r"1 of \d checks failed"):
        await run.run_doctor(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("✗ files ")
    assert lines[-1].startswith("✓ decoders ")
