"""The Celery application: settings from PEER_* variables, one client of each kind a process.

Fair to Celery: prefork with a process for each core, prefetch 1, acks after the work, clients
kept open, nothing stored as a result.
"""

import os
import sys
import time
from functools import cache
from typing import Any

import boto3
import psycopg
from botocore.config import Config
from celery import Celery
from pictures import with_pillow, with_vips

E = os.environ
app = Celery("peer", broker=E["PEER_RABBITMQ_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    task_default_queue=E["PEER_QUEUE"],
    broker_connection_retry_on_startup=True,
)
RENDER = {"pillow": with_pillow, "vips": with_vips}.get(E["PEER_ENGINE"])
EXTENSION = E["PEER_EXTENSION"]
CONTENT_TYPE = {"jpg": "image/jpeg", "webp": "image/webp"}[EXTENSION]
INSERT = "INSERT INTO done (job, sent_at) VALUES (%s, %s)"


@cache
def store() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=E["PEER_MINIO_ENDPOINT"],
        aws_access_key_id=E["PEER_ACCESS_KEY"],
        aws_secret_access_key=E["PEER_SECRET_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


@cache
def database() -> psycopg.Connection[Any]:
    return psycopg.connect(E["PEER_DATABASE_URL"], autocommit=True)


@app.task(name="photo")
def photo(job: str, sent_at: float) -> None:
    bucket = E["PEER_BUCKET"]
    if RENDER is not None:
        data = store().get_object(Bucket=bucket, Key=f"media/{job}/original.jpg")["Body"].read()
        for name, body in RENDER(data, EXTENSION):
            key = f"peer/{job}/{name}.{EXTENSION}"
            store().put_object(Bucket=bucket, Key=key, Body=body, ContentType=CONTENT_TYPE)
    database().execute(INSERT, (job, sent_at))


def main() -> None:
    """Send the jobs named on standard input, one a line, each at once."""
    print("ready", flush=True)  # noqa: T201 - to the harness
    for line in sys.stdin:
        photo.delay(line.strip(), time.time())


if __name__ == "__main__":
    main()
