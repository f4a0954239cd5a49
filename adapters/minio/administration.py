"""The calls that are rare: listing, deleting and creating the bucket, through aiobotocore.

One attempt each, on the adapter's time limits: when to try again is the caller's decision. Only a
kept-alive connection that turns out to be closed is replaced at once; every call is idempotent.
"""

import logging
from asyncio import timeout
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

# Neither library comes with types: their values are Any here and checked by the tests.
import aiobotocore.session as aws  # pyright: ignore[reportMissingTypeStubs]
from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
)

from adapters.minio.limits import Limits
from adapters.minio.refusals import NO_SUCH_KEY, StoreRefusal, refused, unanswered
from adapters.minio.sigv4 import Endpoint
from domain.errors import StoreUnavailable

_DELETE_BATCH = 1000  # the most that S3 takes in one request
_EXISTS = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})


class Administration:
    """One bucket behind one endpoint. To be opened inside the event loop that uses it."""

    def __init__(
        self,
        endpoint: Endpoint,
        bucket: str,
        *,
        access_key: str,
        secret_key: str,
        region: str,
        limits: Limits,
    ) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._limits = limits
        self._region = region
        self._credentials = {
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def open(self) -> None:
        _keep_signatures_out_of_logs()
        session = cast("Any", aws).get_session()
        client = session.create_client(
            "s3",
            endpoint_url=self._endpoint.base,
            region_name=self._region,
            config=_client_config(self._limits),
            **self._credentials,
        )
        self._client = await self._stack.enter_async_context(client)

    async def close(self) -> None:
        self._client = None
        await self._stack.aclose()

    async def create_bucket(self) -> None:
        """Create the bucket, private; one that exists already stays as it is."""
        location: dict[str, Any] = {"LocationConstraint": self._region}
        options = {} if self._region == "us-east-1" else {"CreateBucketConfiguration": location}
        operation = f"create bucket {self._bucket}"
        try:
            await self._call(operation, self._client.create_bucket, **options)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, StoreRefusal) or error.__cause__.code not in _EXISTS:
                raise

    async def list_keys(self, prefix: str) -> list[str]:
        keys: list[str] = []
        page: dict[str, Any] = {"IsTruncated": True}
        while page["IsTruncated"]:
            options = {"Prefix": prefix}
            if "NextContinuationToken" in page:
                options["ContinuationToken"] = page["NextContinuationToken"]
            page = await self._call(f"list {prefix}", self._client.list_objects_v2, **options)
            keys += [entry["Key"] for entry in page.get("Contents", ())]
        return sorted(keys)

    async def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = keys[start : start + _DELETE_BATCH]
            operation = f"delete {len(batch)} objects"
            objects = {"Objects": [{"Key": key} for key in batch], "Quiet": True}
            answer = await self._call(operation, self._client.delete_objects, Delete=objects)
            codes = [error["Code"] for error in answer.get("Errors", ())]
            if any(code != NO_SUCH_KEY for code in codes):
                refusal = StoreRefusal(200, f"with {len(codes)} errors, the first {codes[0]}")
                raise refused(operation, self._bucket, refusal) from refusal

    async def _call(
        self, operation: str, method: Callable[..., Awaitable[dict[str, Any]]], **options: Any
    ) -> dict[str, Any]:
        try:
            async with timeout(self._limits.deadline_seconds(0)):
                try:
                    return await method(Bucket=self._bucket, **options)
                except ConnectionClosedError:
                    return await method(Bucket=self._bucket, **options)
        except ClientError as error:
            refusal = _refusal(error)
            raise refused(operation, self._bucket, refusal) from refusal
        except (BotoCoreError, TimeoutError) as error:
            raise unanswered(operation, self._endpoint.base, error) from error


def _refusal(error: ClientError) -> StoreRefusal:
    response = cast("dict[str, Any]", error.response)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return StoreRefusal(status, response.get("Error", {}).get("Code", "without a reason"))


def _client_config(limits: Limits) -> AioConfig:
    return AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        # Stores other than Amazon's do not all know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=limits.connect_timeout_seconds,
        read_timeout=limits.read_timeout_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=limits.connections,
        connector_args={"keepalive_timeout": limits.keepalive_seconds},
        proxies={},  # like the hot path: straight to the store
    )


def _keep_signatures_out_of_logs() -> None:
    """Botocore writes signatures and headers at DEBUG; nobody should log them by accident."""
    logger = logging.getLogger("botocore")
    logger.setLevel(max(logger.level, logging.INFO))
