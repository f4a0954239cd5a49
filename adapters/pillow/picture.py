"""One photo in the decoder's hands."""

import math
from collections.abc import Iterator
from functools import partial

from PIL import Image

from adapters.pillow import reading
from adapters.pillow.colour import to_srgb
from adapters.pillow.memory import Header, estimate
from adapters.pillow.modes import without_needless_alpha
from adapters.pillow.tools import PillowTools
from adapters.sandbox.chain import Chain, largest, shrunk, wants_motion
from adapters.sandbox.containers import Kind
from adapters.sandbox.decoder import Encoded, Picture
from adapters.sandbox.film import Film
from domain.parts import Placeholder
from domain.recipe import Recipe

# By measurement (docs/images.md): it costs no variant more than 0.003 of SSIM.
_DRAFT_MARGIN = 1.2  # scaled JPEG decoding stays this many times above the largest variant
_PLAIN = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


class PillowPicture(Picture):
    """See `Picture`. `picture` has its header read and nothing more."""

    def __init__(
        self, picture: Image.Image, kind: Kind, recipe: Recipe, *, frames: int, file_bytes: int
    ) -> None:
        self._picture = [picture]  # given away when it is decoded, so that its memory is freed
        self._kind = kind
        self._recipe = recipe
        self._tools = PillowTools(recipe)
        self._frames = frames
        self._header = picture.size
        self._size = picture.size
        self._chain: Chain[Image.Image] | None = None
        if kind is Kind.JPEG:
            self._ask_for_less(picture)
        self._needs = self._estimate(picture, file_bytes)

    @property
    def width(self) -> int:
        return self._header[0]

    @property
    def height(self) -> int:
        return self._header[1]

    @property
    def frames(self) -> int:
        return self._frames

    @property
    def needs(self) -> int:
        return self._needs

    def decode(self) -> tuple[int, int]:
        picture = self._picture.pop()
        profile = picture.info.get("icc_profile")
        film = self._read(picture)
        orientation = reading.orientation(picture)  # a PNG may state it after the pixels
        del picture
        turned = reading.lies_on_its_side(orientation)
        if self._kind is not Kind.JPEG:
            width, height = film.frames[0].size
            self._size = (height, width) if turned else (width, height)
        width, height = largest(self._size, self._recipe)
        # Scaled first and turned then: the same pixels as the other way round, for less work.
        film = shrunk(self._tools, film, (height, width) if turned else (width, height))
        film = film.map(partial(reading.upright, orientation=orientation))
        film = film.map(partial(to_srgb, embedded=profile)).map(without_needless_alpha)
        self._chain = Chain(self._tools, self._recipe, film, self._size)
        return self._size

    def variants(self) -> Iterator[Encoded]:
        assert self._chain is not None
        return self._chain.variants()

    def placeholder(self) -> Placeholder:
        assert self._chain is not None
        return self._chain.placeholder()

    def _ask_for_less(self, picture: Image.Image) -> None:
        """Let the JPEG decoder leave out what no variant shows; note the true size first."""
        width, height = picture.size
        turned = reading.lies_on_its_side(reading.orientation(picture))
        self._size = (height, width) if turned else (width, height)
        width, height = (math.ceil(e * _DRAFT_MARGIN) for e in largest(self._size, self._recipe))
        picture.draft(None, (height, width) if turned else (width, height))

    def _read(self, picture: Image.Image) -> Film[Image.Image]:
        if self._frames > 1 and wants_motion(self._recipe):
            return reading.read_film(picture)
        return reading.read_still(picture)

    def _estimate(self, picture: Image.Image, file_bytes: int) -> int:
        info = picture.info
        return estimate(
            Header(
                kind=self._kind,
                mode=picture.mode,
                file_bytes=file_bytes,
                whole=math.prod(self._header),
                decoded=math.prod(picture.size),
                target=math.prod(largest(self._size, self._recipe)),
                converted=picture.mode not in _PLAIN
                or bool(info.keys() & {"exif", "xmp", "transparency"}),
                progressive=bool(info.get("progressive")),
                frames=self._frames if wants_motion(self._recipe) else 1,
            )
        )
