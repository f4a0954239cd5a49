"""The pure parts of the sandbox: geometry, thumbhash, containers and their structure."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sandbox import containers, structure, tone
from adapters.sandbox.containers import Kind
from adapters.sandbox.geometry import place
from adapters.sandbox.thumbhash import as_text, average_color, thumbhash
from domain.recipe import Fit, VariantSpec

edges = st.integers(1, 60_000)
bounds = st.integers(1, 8192)


def stripes(width: int, height: int, alpha: int) -> bytes:
    """RGBA; an `alpha` of 0 stands for one that changes."""
    return bytes(
        (alpha or i * 13 % 256) if i % 4 == 3 else i // 7 * 31 % 256
        for i in range(width * height * 4)
    )


@pytest.mark.parametrize(
    ("width", "height", "alpha", "expected"),
    [
        (32, 24, 255, "IPgBBYBWZltmdXCJZmcyVvV4CK0G"),
        (7, 100, 0, "IAiCAQAIfOqpti8DjQZ6eDqJmGa2gW8="),
    ],
)
def test_thumbhash_is_that_of_the_reference_implementation(
    width: int, height: int, alpha: int, expected: str
) -> None:
    assert as_text(thumbhash((width, height), stripes(width, height, alpha))) == expected


def test_the_average_colour_counts_what_is_visible() -> None:
    assert average_color(bytes([255, 0, 0, 255, 0, 0, 255, 0])) == "#ff0000"
    assert average_color(bytes([255, 0, 0, 255, 0, 0, 255, 255])) == "#800080"
    assert average_color(bytes([9, 9, 9, 0])) == "#ffffff"


@given(edges, edges, bounds, bounds, st.sampled_from(Fit))
def test_a_variant_lies_within_its_bounds_and_its_original(
    width: int, height: int, across: int, down: int, fit: Fit
) -> None:
    placed = place(width, height, VariantSpec(name="x", width=across, height=down, fit=fit))
    assert 1 <= placed.width <= min(across, width)
    assert 1 <= placed.height <= min(down, height)
    left, top, right, bottom = placed.box
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1


@given(st.integers(10, 5000), st.integers(10, 5000), st.integers(10, 5000))
def test_inside_keeps_the_shape(width: int, height: int, edge: int) -> None:
    placed = place(width, height, VariantSpec(name="x", width=edge, height=edge))
    assert abs(placed.width * height - placed.height * width) <= max(width, height)


@given(st.binary(max_size=300), st.sampled_from(Kind))
def test_no_bytes_confuse_the_walks(data: bytes, kind: Kind) -> None:
    assert structure.ends_early(data, kind) in (True, False)
    if len(data) > 16:
        assert structure.count_frames(data, kind, 10) >= 1
    containers.sniff(data)
    tone.png_gamma(data)


def test_formats_are_told_by_their_first_bytes() -> None:
    assert containers.sniff(b"\xff\xd8\xff\xe0") is Kind.JPEG
    assert containers.sniff(b"RIFF\x00\x00\x00\x00WEBPVP8 ") is Kind.WEBP
    assert containers.sniff(b"RIFF\x00\x00\x00\x00WAVE") is None
    assert containers.sniff(b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avifmiaf") is Kind.AVIF
    assert containers.sniff(b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic") is None
    assert containers.sniff(base64.b64decode("R0lGODlhAQABAAAAACw=")) is Kind.GIF
    assert containers.sniff(b"") is None


def test_text_that_speaks_of_animation_makes_no_png_an_animation() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + bytes(4)

    end = chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    text = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"tEXt", b"acTL\xff\xff\xff\xff")
    )
    assert structure.count_frames(text + end, Kind.PNG, 10) == 1
    assert (
        structure.count_frames(
            text + chunk(b"acTL", bytes(3) + b"\x03" + bytes(4)) + end, Kind.PNG, 10
        )
        == 3
    )
