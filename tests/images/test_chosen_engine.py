"""The engine that the settings choose is the one that the other tests here hold to its promises."""

from io import BytesIO

import pytest
from PIL import Image

from entrypoints.bootstrap import make_engine
from entrypoints.settings import Engine, Settings
from tests.images.rendering import render

pytestmark = pytest.mark.anyio

EDGE = 6_000  # decoded it takes 108 MB, which libvips would keep in a temporary file


@pytest.mark.parametrize("chosen", Engine)
async def test_a_large_photo_needs_no_temporary_file(chosen: Engine) -> None:
    buffer = BytesIO()
    Image.new("RGB", (EDGE, EDGE), "teal").save(buffer, "WEBP", quality=10, method=0)
    engine = make_engine(Settings(image_engine=chosen, worker_concurrency=1))
    try:
        rendered = await render(engine, buffer.getvalue(), "image/webp")
    finally:
        await engine.close()
    assert (rendered.rendering.width, rendered.rendering.height) == (EDGE, EDGE)
