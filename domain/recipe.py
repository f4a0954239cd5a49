"""Which variants to make of a photo. Limits are checked on creation."""

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum

from domain.errors import InvalidConfiguration

EDGE_MAX = 8192
VARIANTS_MAX = 16
QUALITY_MAX = 100
COPYRIGHT_MAX = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_COLOR = re.compile(r"#[0-9a-f]{6}")


class Fit(StrEnum):
    """How a picture meets its bounds; no fit ever enlarges."""

    INSIDE = "inside"  # whole picture within the bounds
    COVER = "cover"  # bounds filled, the rest cropped around the centre


class OutputFormat(StrEnum):
    """AUTO chooses per photo: JPEG where there is no alpha, WebP where there is."""

    WEBP = "webp"
    JPEG = "jpeg"
    PNG = "png"
    AVIF = "avif"
    AUTO = "auto"


class Animation(StrEnum):
    """What becomes of a picture with several frames."""

    FIRST = "first"  # the first frame only
    KEEP = "keep"  # an animated WebP; other formats take the first frame


CONTENT_TYPES: dict[OutputFormat, str] = {
    OutputFormat.WEBP: "image/webp",
    OutputFormat.JPEG: "image/jpeg",
    OutputFormat.PNG: "image/png",
    OutputFormat.AVIF: "image/avif",
}
EXTENSIONS: dict[str, str] = {
    "image/webp": "webp",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/avif": "avif",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """One variant: `width` and `height` are bounds in pixels, `quality` is 1 to 100."""

    name: str
    width: int
    height: int
    fit: Fit = Fit.INSIDE
    format: OutputFormat = OutputFormat.WEBP
    quality: int = 80

    def problems(self) -> list[str]:
        """One full sentence for each rule this variant breaks."""
        found: list[str] = []
        if not _NAME.fullmatch(self.name):
            found.append(
                f"Variant name {self.name!r} must be 1 to 32 characters of a-z, 0-9, - and _."
            )
        found += [
            f"The {side} of variant {self.name!r} must be 1 to {EDGE_MAX} pixels."
            for side, pixels in (("width", self.width), ("height", self.height))
            if not 1 <= pixels <= EDGE_MAX
        ]
        if not 1 <= self.quality <= QUALITY_MAX:
            found.append(f"The quality of variant {self.name!r} must be 1 to {QUALITY_MAX}.")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named set of variants.

    `background` is what alpha is flattened on where the format has none (`#rrggbb`).
    `copyright` is a line written into every variant; all other metadata is dropped.
    """

    name: str
    variants: tuple[VariantSpec, ...]
    background: str = "#ffffff"
    animation: Animation = Animation.FIRST
    copyright: str | None = None
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        problems = [sentence for spec in self.variants for sentence in spec.problems()]
        problems += self._problems()
        if problems:
            raise InvalidConfiguration(problems)
        object.__setattr__(self, "hash", self._fingerprint())

    def _problems(self) -> list[str]:
        found: list[str] = []
        names = [spec.name for spec in self.variants]
        if not 1 <= len(names) <= VARIANTS_MAX:
            found.append(f"Recipe {self.name!r} must have 1 to {VARIANTS_MAX} variants.")
        if len(set(names)) != len(names):
            found.append(f"Recipe {self.name!r} names a variant twice.")
        if not _NAME.fullmatch(self.name):
            found.append(
                f"Recipe name {self.name!r} must be 1 to 32 characters of a-z, 0-9, - and _."
            )
        if not _COLOR.fullmatch(self.background):
            found.append(
                f"The background of recipe {self.name!r} must be a colour such as #ffffff."
            )
        if self.copyright is not None and not 1 <= len(self.copyright) <= COPYRIGHT_MAX:
            found.append(
                f"The copyright of recipe {self.name!r} must be 1 to {COPYRIGHT_MAX} characters."
            )
        return found

    def _fingerprint(self) -> str:
        """12 hex digits that change whenever a variant could come out differently."""
        parts = [self.background, self.animation.value, self.copyright or ""]
        for spec in self.variants:
            parts += [spec.name, str(spec.width), str(spec.height)]
            parts += [spec.fit.value, spec.format.value, str(spec.quality)]
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


def default_recipe() -> Recipe:
    """Four WebP variants by long side: large 2048, medium 1024, small 512, thumb 256 pixels."""
    edges = {"large": 2048, "medium": 1024, "small": 512, "thumb": 256}
    return Recipe(
        name="default",
        variants=tuple(VariantSpec(name=name, width=e, height=e) for name, e in edges.items()),
    )
