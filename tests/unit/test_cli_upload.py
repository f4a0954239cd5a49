"""`pipeline upload` against a small API that answers as a test tells it to."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from domain.errors import PipelineError
from entrypoints import cli
from entrypoints.tools import upload
from tests.support.builders import ulid

pytestmark = pytest.mark.anyio

PHOTO = b"a photo"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Api:
    """Every photo becomes `status`; the next `busy` calls of each path are answered with 503."""

    status: str = "READY"
    failure: dict[str, Any] | None = None
    busy: dict[str, int] = field(default_factory=dict[str, int])
    retry_after: str = "0"
    calls: list[str] = field(default_factory=list[str])
    requested: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    async def request_upload(self, request: web.Request) -> web.Response:
        self.requested.append(await request.json())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        media_id = ulid(len(self.requested))
        ticket = {
            "media_id": media_id,
            "upload_url": f"{self.url}/store/{media_id}?signature=a%2Fb%3D",
            "original_key": f"media/{media_id}/original.jpg",
            "upload_headers": {"Content-Type": "image/jpeg"},
        }
        return web.json_response(ticket, status=201)

    async def put(self, request: web.Request) -> web.Response:
        assert request.rel_url.raw_query_string == "signature=a%2Fb%3D"
        assert await request.read() == PHOTO
        return web.Response()

    async def complete(self, request: web.Request) -> web.Response:
        return self._document((await request.json())["media_id"], "PROCESSING", 202)

    async def media(self, request: web.Request) -> web.Response:
        self.at_once -= 1
        return self._document(request.match_info["id"], self.status, 200)

    def _document(self, media_id: str, status: str, code: int) -> web.Response:
        body = {
            "media_id": media_id,
            "status": status,
            "variants": [{"name": "large"}, {"name": "thumb"}] if status == "READY" else [],
            "final_url": f"{self.url}/large" if status == "READY" else None,
            "failure": self.failure,
            "trace_id": TRACE,
        }
        return web.json_response(body, status=code)

    @web.middleware
    async def be_busy(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = f"{request.method} /{request.path.split('/')[1]}"
        self.calls.append(path)
        if self.busy.get(path, 0):
            self.busy[path] -= 1
            problem = {"code": "database-unavailable", "detail": "Away."}
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.json_response(problem, status=503, headers=headers)
        answer: web.StreamResponse = await handler(request)
        return answer


@asynccontextmanager
async def serving(api: Api) -> AsyncGenerator[Api]:
    app = web.Application(middlewares=[api.be_busy])
    app.router.add_post("/upload-url", api.request_upload)
    app.router.add_put("/store/{id}", api.put)
    app.router.add_post("/complete-upload", api.complete)
    app.router.add_get("/media/{id}", api.media)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    api.url = f"http://{host}:{port}"
    try:
        yield api
    finally:
        await runner.cleanup()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / name for name in ("a.jpg", "b.JPEG", "c.webp", "d.avif", "e.tif")]
    for file in files:
        file.write_bytes(PHOTO)
    return files


async def send(api: Api, files: list[Path], **options: Any) -> None:
    chosen: dict[str, Any] = {"parallel": 2, "timeout_seconds": 10.0, "as_json": False} | options
    await upload.run_upload(files, url=api.url, **chosen)


async def test_photos_are_sent_several_at_once_and_shown(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(Api()) as api:
        await send(api, photos)
    assert api.most_at_once == 2
    assert sorted(one["content_type"] for one in api.requested) == [
        "image/avif",
        "image/jpeg",
        "image/jpeg",
        "image/tiff",
        "image/webp",
    ]
    out, err = capsys.readouterr()
    assert out.count("READY") == 5
    assert out.count(TRACE) == 5
    assert "large, thumb" in out
    assert err == ""


async def test_a_script_gets_one_line_of_json(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(Api()) as api:
        await send(api, photos[:1], as_json=True)
    [line] = capsys.readouterr().out.splitlines()
    [sent] = json.loads(line)
    assert 0 < sent.pop("seconds") < 10
    assert sent == {
        "file": str(photos[0]),
        "status": "READY",
        "media_id": ulid(1),
        "variants": ["large", "thumb"],
        "final_url": f"{api.url}/large",
        "trace_id": TRACE,
        "problem": None,
    }


@pytest.mark.parametrize(
    "path", ["POST /upload-url", "PUT /store", "POST /complete-upload", "GET /media"]
)
@pytest.mark.parametrize("retry_after", ["0", "1"])
async def test_a_busy_service_is_asked_again(
    photos: list[Path], path: str, retry_after: str
) -> None:
    times = 3 if retry_after == "0" else 1
    async with serving(Api(busy={path: times}, retry_after=retry_after)) as api:
        await send(api, photos[:1])
    assert api.calls.count(path) == times + 1
    assert len(api.calls) == 4 + times


async def test_patience_with_a_busy_service_ends(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(Api(busy={"PUT /store": 99}, retry_after="3600")) as api:
        with pytest.raises(PipelineError, match="1 of 1 photos are not READY"):
            await send(api, photos[:1])
    assert api.calls == ["POST /upload-url", "PUT /store"]
    assert "503 upload-refused" in capsys.readouterr().out


async def test_a_photo_that_fails_is_told_with_its_reason(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    failure = {"code": "image-truncated", "detail": "The file ends too early."}
    async with serving(Api(status="FAILED", failure=failure)) as api:
        with pytest.raises(PipelineError, match="1 of 1 photos are not READY"):
            await send(api, photos[:1])
    assert f"{photos[0]}: image-truncated: The file ends too early." in capsys.readouterr().out


async def test_a_photo_that_does_not_end_is_given_up(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(Api(status="PROCESSING")) as api:
        with pytest.raises(PipelineError):
            await send(api, photos[:1], timeout_seconds=0.3)
    out = capsys.readouterr().out
    assert ulid(1) in out
    assert "not finished within 0.3 s" in out


async def test_files_that_cannot_be_sent_stop_no_other(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes[bold].txt\x1b[31m"
    text.write_text("no photo")
    async with serving(Api()) as api:
        with pytest.raises(PipelineError, match="2 of 3 photos are not READY"):
            await send(api, [text, tmp_path / "nowhere.jpg", photos[0]])
    assert len(api.requested) == 1
    out = capsys.readouterr().out
    assert "its name is not that of a photo" in out
    assert "nowhere.jpg: there is no such file" in out
    assert "\x1b" not in out
    assert "READY" in out


@pytest.mark.parametrize(
    "words",
    [["a.jpg", "--url", "localhost:8080"], ["a.jpg", "--parallel", "0"], ["--parallel", "2"]],
)
def test_wrong_arguments_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["upload", *words])
    assert ended.value.code == 2
    assert "usage: pipeline upload" in capsys.readouterr().err
