"""The work of each query depends on what it returns, not on how much there is.

Plans are made generic and without statistics, which is what a long-lived connection has cached.
"""

import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from adapters.postgres.connections import Connection, Limits, connect_alone
from adapters.postgres.migrations import migrate
from adapters.sql import load_statements
from tests.integration.postgres import empty_database
from tests.support.builders import NOW, ulid

pytestmark = pytest.mark.anyio

LIMIT = 20
SEED = """
INSERT INTO media (
    id, state, version, file_name, content_type, original_key, created_at, updated_at,
    upload_expires_at, deadline_at, completed_at, etag, original_bytes, attempt, lost_leases,
    lease_token, requeues, attempts, original, variants, placeholder, failure, failure_code,
    state_since)
SELECT lpad(n::text, 26, '0'), state, 3, 'a.jpg', 'image/jpeg', 'k', at, at, at,
    CASE state WHEN 'UPLOADED' THEN at END, at, 'e', 1, 1, 0, 1, 0, '[{}]',
    CASE state WHEN 'READY' THEN '{}' ELSE 'null' END,
    CASE state WHEN 'READY' THEN '[{}]' ELSE '[]' END, 'null',
    CASE state WHEN 'FAILED' THEN '{}' ELSE 'null' END,
    CASE WHEN state = 'FAILED' THEN CASE n % 1000 WHEN 0 THEN 'too-many-bytes'
        ELSE 'image-corrupt' END END, at
FROM (
    SELECT n, '2026-01-01'::timestamptz + n * interval '1 s' AS at,
        CASE WHEN n % 10 = 0 THEN 'FAILED' WHEN n % 20 = 1 THEN 'UPLOADED' ELSE 'READY' END AS state
    FROM generate_series(1, 20000) AS n
) AS seeds;
INSERT INTO outbox (media_id, token, available_at, published_at)
SELECT 'm', 0, now() - n * interval '1 s', CASE WHEN n > 5000 THEN now() - n * interval '1 s' END
FROM generate_series(1, 20000) AS n;
INSERT INTO dead_letters (id, received_at, reason, body)
SELECT n::text, now() - n * interval '1 s', 'rejected', 'x' FROM generate_series(1, 5000) AS n;
"""
UNDER_WAY = ["PENDING_UPLOAD", "PROCESSING", "RETRYING", "UPLOADED"]
# File, statement, parameters, and how many rows it may look at in one table.
QUERIES: list[tuple[str, str, tuple[Any, ...], int]] = [
    ("media", "get", (ulid(5),), 1),
    ("media", "get_locked", (ulid(5),), 1),
    ("media", "due", (["RETRYING", "UPLOADED"], NOW, None, "", LIMIT), LIMIT),
    ("media", "due", (["RETRYING", "UPLOADED"], NOW, NOW.replace(month=1), "x", LIMIT), LIMIT),
    ("outbox", "claim", (LIMIT, 10.0), LIMIT),
    ("outbox", "mark_published", ([1, 2, 3],), 3),
    ("outbox", "release", ([1, 2, 3],), 3),
    ("outbox", "prune", (1.0, LIMIT), LIMIT),
    ("overview", "backlog", (UNDER_WAY,), 5000),  # the 1000, 5000 and 5000 it has to count
    ("overview", "failed", (LIMIT,), LIMIT),
    ("overview", "failed_with_code", (LIMIT, "too-many-bytes"), LIMIT),
    ("dead_letters", "get", ("5",), 1),
    ("dead_letters", "list", (LIMIT,), LIMIT),
    ("dead_letters", "mark_replayed", ("5", NOW), 1),
    ("dead_letters", "mark_dismissed", ("5", NOW), 1),
]


@pytest.fixture
async def plain(postgres_url: str) -> AsyncGenerator[Connection]:
    settings = Limits().server_settings() | {"plan_cache_mode": "force_generic_plan"}
    async with empty_database(postgres_url) as url:
        await migrate(url)
        connection = await connect_alone(url, seconds=5.0, server_settings=settings)
        yield connection
        connection.terminate()


async def test_every_query_walks_an_index_no_further_than_its_limit(plain: Connection) -> None:
    statements = {name: load_statements("adapters.postgres", f"{name}.sql") for name, *_ in QUERIES}
    await plain.execute("SET statement_timeout = '60s'")
    await plain.execute(SEED)
    for file, name, args, bound in QUERIES:
        for node in await _scans(plain, statements[file][name], args):
            assert "Index" in node["Node Type"], (name, node)
            looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            assert looked_at <= bound, (name, node)


async def _scans(plain: Connection, statement: str, args: tuple[Any, ...]) -> list[dict[str, Any]]:
    await plain.execute("BEGIN")
    text = await plain.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, *args)
    await plain.execute("ROLLBACK")
    found = [node for node in _nodes(json.loads(text)[0]["Plan"]) if "Relation Name" in node]
    return [node for node in found if node["Node Type"] != "ModifyTable"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)
