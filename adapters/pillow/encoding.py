"""From pixels to the bytes of a variant. Nothing of the original's metadata comes along."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from adapters.sandbox.containers import declare_alpha
from adapters.sandbox.film import Film
from domain.recipe import OutputFormat

_COPYRIGHT_TAG = 0x8298
_WITH_ALPHA = frozenset({"LA", "RGBA"})

_OPTIONS: dict[OutputFormat, dict[str, Any]] = {
    OutputFormat.JPEG: {},
    OutputFormat.PNG: {"compress_level": 6},
    OutputFormat.AVIF: {"speed": 8, "max_threads": 1},
}

# WebP by measurement (docs/images.md): method 2 costs two fifths of the default 4, and a little
# sharpness, which a little more quality buys back where it can be seen.
_WEBP_METHOD = 2
_WEBP_MORE_QUALITY, _WEBP_FROM_PIXELS = 1.4, 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What a recipe asks of every variant: the colour behind flattened alpha, a copyright line."""

    background: str
    copyright: str | None


def encode(film: Film[Image.Image], form: OutputFormat, quality: int, finish: Finish) -> bytes:
    """The file. Frames are in L, LA, RGB or RGBA; only WebP moves."""
    first = film.frames[0]
    if film.moves and form is OutputFormat.WEBP:
        return _animation(film, quality, finish)
    if form is OutputFormat.JPEG:
        first = flattened(first, finish.background)
    return _save(first, form, quality, finish, {})


def _animation(film: Film[Image.Image], quality: int, finish: Finish) -> bytes:
    extra = {
        "save_all": True,
        "append_images": film.frames[1:],
        "duration": film.durations,
        "loop": film.loop,
    }
    data = _save(film.frames[0], OutputFormat.WEBP, quality, finish, extra)
    if any(frame.mode in _WITH_ALPHA for frame in film.frames):
        data = declare_alpha(data)
    return data


def flattened(picture: Image.Image, background: str) -> Image.Image:
    """The picture on an opaque ground."""
    if picture.mode not in _WITH_ALPHA:
        return picture
    ground = Image.new("RGBA", picture.size, background)
    ground.alpha_composite(picture.convert("RGBA"))
    return ground.convert("RGB")


def _save(
    picture: Image.Image,
    form: OutputFormat,
    quality: int,
    finish: Finish,
    extra: dict[str, Any],
) -> bytes:
    options = {**_options(picture, form, quality), **extra}
    if finish.copyright:
        options["exif"] = _copyright_exif(finish.copyright)
    picture.info.clear()
    buffer = BytesIO()
    picture.save(buffer, form.value, **options)
    return buffer.getvalue()


def _options(picture: Image.Image, form: OutputFormat, quality: int) -> dict[str, Any]:
    if form is OutputFormat.PNG:
        return _OPTIONS[form]
    if form is not OutputFormat.WEBP:
        return {**_OPTIONS[form], "quality": quality}
    large = picture.width * picture.height >= _WEBP_FROM_PIXELS
    more = _WEBP_MORE_QUALITY if large else 0.0
    return {"method": _WEBP_METHOD, "quality": min(100, quality + more)}


def _copyright_exif(line: str) -> bytes:
    exif = Image.Exif()
    exif[_COPYRIGHT_TAG] = line.encode()
    return exif.tobytes()
