"""pyvips behind types of our own: it builds its methods at run time and has no annotations.

One thread a child and no cache of operations: a child makes one photo and is gone. Every loader
is blocked but those of the six formats, and of these whatever libvips itself calls untrusted.
"""

from typing import Any, cast

import pyvips

from adapters.sandbox.containers import Kind

Frame = Any  # a pyvips.Image
Damaged = cast("type[Exception]", pyvips.Error)

_LOADERS = {
    Kind.JPEG: ("VipsForeignLoadJpeg", "jpegload_source"),
    Kind.PNG: ("VipsForeignLoadPng", "pngload_source"),
    Kind.WEBP: ("VipsForeignLoadWebp", "webpload_source"),
    Kind.GIF: ("VipsForeignLoadNsgif", "gifload_source"),
    Kind.AVIF: ("VipsForeignLoadHeif", "heifload_source"),
    Kind.TIFF: ("VipsForeignLoadTiff", "tiffload_source"),
}
_vips = cast("Any", pyvips)


def set_up() -> None:
    """To be called once, before any picture is opened. Starts no thread."""
    _vips.concurrency_set(1)
    _vips.cache_set_max(0)
    _vips.block_untrusted_set(True)
    _vips.operation_block_set("VipsForeignLoad", True)
    for loader, _ in _LOADERS.values():
        _vips.operation_block_set(loader, False)


_LOOKED_UP = (
    "jpegsave_buffer", "webpsave_buffer", "pngsave_buffer", "heifsave_buffer",
    "min", "max", "extract_band", "bandjoin", "arrayjoin", "copy",
)  # fmt: skip


def rehearse() -> None:
    """Look up or build, but don't run, everything a child will do; it then knows its way.

    Running it would start threads, and a process with threads can't be forked.
    """
    for name in (*(function for _, function in _LOADERS.values()), *_LOOKED_UP):
        _vips.Introspect.get(name)
    grey, frame = from_memory(bytes(64), 8, 8, 1), from_memory(bytes(256), 8, 8, 4)
    frame = frame.colourspace("srgb").crop(0, 0, 4, 4).premultiply()
    frame = frame.resize(0.5, vscale=0.5).unpremultiply().cast("uchar").rot90().fliphor()
    frame.flatten(background=[0, 0, 0]).icc_transform("srgb", black_point_compensation=True)
    grey.maplut(lookup_table(list(range(256)))).rint()


def load(data: bytes, kind: Kind, **options: object) -> Frame:
    """The picture, its header read; pixels come when they are asked for, top to bottom, once.

    `data` is read where it lies, so keep it as long as the picture; a buffer would be copied.
    """
    _, function = _LOADERS[kind]
    source = _vips.Source.new_from_memory(data)
    return getattr(_vips.Image, function)(source, access="sequential", fail_on="error", **options)


def from_memory(pixels: bytes, width: int, height: int, bands: int) -> Frame:
    """A picture of 8 bits without metadata: grey with one or two bands, sRGB with more."""
    grey = bands <= 2  # noqa: PLR2004 - grey and its alpha
    image = _vips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    return image.copy(interpretation="b-w" if grey else "srgb")


def bare(frame: Frame) -> Frame:
    """The pixels, computed now, and nothing else of what the picture carried."""
    pixels = frame.write_to_memory()
    plain = from_memory(pixels, frame.width, frame.height, frame.bands)
    return plain.copy(interpretation=frame.interpretation)


def join(frames: tuple[Frame, ...]) -> Frame:
    """The frames one below the other, as libvips keeps animations."""
    return _vips.Image.arrayjoin(list(frames), across=1)


def set_blob(frame: Frame, name: str, value: bytes) -> Frame:
    """A copy of the frame with this piece of metadata."""
    copy = frame.copy()
    copy.set_type(_vips.GValue.blob_type, name, value)
    return copy


def set_text(frame: Frame, name: str, value: str) -> Frame:
    """A copy of the frame with this piece of metadata."""
    copy = frame.copy()
    copy.set_type(_vips.GValue.gstr_type, name, value)
    return copy


def set_numbers(frame: Frame, name: str, value: int | list[int]) -> Frame:
    """A copy of the frame with this piece of metadata."""
    copy = frame.copy()
    kind = _vips.GValue.array_int_type if isinstance(value, list) else _vips.GValue.gint_type
    copy.set_type(kind, name, value)
    return copy


def get(frame: Frame, name: str) -> Any:
    """A piece of metadata, or None."""
    return frame.get(name) if frame.get_typeof(name) else None


def lookup_table(values: list[int]) -> Frame:
    """A table for `maplut`, 8 bits out."""
    return _vips.Image.new_from_memory(bytes(values), len(values), 1, 1, "uchar")
