"""Pillow as a decoder for the sandbox. Imported by the forkserver, never by the worker."""

import warnings
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from adapters.pillow.picture import PillowPicture
from adapters.pillow.reading import PLUGINS, open_header
from adapters.sandbox.containers import Kind
from adapters.sandbox.decoder import Decoder, Picture
from adapters.sandbox.messages import Caps
from adapters.sandbox.structure import count_frames
from domain.errors import ProcessingFailed
from domain.failure import FailureCode
from domain.recipe import Animation, OutputFormat, Recipe, VariantSpec

# Named so that they stay imported: a child that has given up the file system can't import them.
ALLOWED = (
    AvifImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
# What Pillow raises on data that makes no sense, beside its own errors.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError,
    AttributeError, RuntimeError,
)  # fmt: skip
_PROFILE_BYTES_MAX = 8 << 20


class PillowDecoder(Decoder):
    """Single-threaded throughout."""

    threads = False
    damage = _DAMAGE

    def preload(self) -> None:
        warnings.simplefilter("ignore")
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        PngImagePlugin.MAX_TEXT_CHUNK = _PROFILE_BYTES_MAX
        _warm_up(self)

    def open(self, data: bytes, kind: Kind, recipe: Recipe, caps: Caps) -> Picture:
        Image.MAX_IMAGE_PIXELS = caps.max_pixels // 2  # Pillow raises at twice its limit
        try:
            frames = count_frames(data, kind, caps.max_frames)
            picture = open_header(data, kind)
            if kind is Kind.AVIF:
                frames = int(getattr(picture, "n_frames", 1))
            return PillowPicture(picture, kind, recipe, frames=frames, file_bytes=len(data))
        except Image.DecompressionBombError as error:
            raise ProcessingFailed(
                FailureCode.TOO_MANY_PIXELS,
                f"The picture has more than {caps.max_pixels // 1_000_000} megapixels, "
                "which is all that is allowed. Send a smaller one.",
            ) from error


def _warm_up(decoder: Decoder) -> None:
    """Render a small picture of every kind: what is imported or set up lazily is there then."""
    caps = Caps(
        max_bytes=1 << 20,
        max_pixels=1 << 20,
        max_frames=1,
        cpu_seconds=1,
        address_space_bytes=0,
        output_bytes=1 << 20,
        open_files=0,
    )
    forms = [form for form in OutputFormat if form is not OutputFormat.AUTO]
    recipe = Recipe(
        name="warm-up",
        variants=tuple(VariantSpec(name=f, width=16, height=16, format=f) for f in forms),
        animation=Animation.KEEP,
        copyright="-",
    )
    for kind in Kind:
        buffer = BytesIO()
        Image.new("RGB", (32, 32), "teal").save(buffer, PLUGINS[kind])
        picture = decoder.open(buffer.getvalue(), kind, recipe, caps)
        picture.decode()
        for _ in picture.variants():
            picture.placeholder()


DECODER = PillowDecoder()
