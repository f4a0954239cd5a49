"""How large a variant becomes. Pure, and used on both sides: the child obeys, the worker checks."""

from dataclasses import dataclass

from domain.recipe import Fit, VariantSpec

Box = tuple[float, float, float, float]
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Placement:
    """A variant of `width` x `height` pixels, taken from `box` of the whole picture.

    `box` is (left, top, right, bottom) as fractions of the picture's width and height.
    """

    width: int
    height: int
    box: Box = _WHOLE

    @property
    def cropped(self) -> bool:
        return self.box != _WHOLE

    def pixels(self, width: int, height: int) -> Box:
        """The box in pixels of a whole picture of this size."""
        left, top, right, bottom = self.box
        return left * width, top * height, right * width, bottom * height

    @property
    def whole(self) -> tuple[float, float]:
        """Width and height the whole picture would have at the scale of this variant."""
        left, top, right, bottom = self.box
        return self.width / (right - left), self.height / (bottom - top)


def place(width: int, height: int, spec: VariantSpec) -> Placement:
    """Where a picture of `width` x `height` (after orientation) meets the bounds of `spec`.

    Sides are rounded to the nearest pixel and never less than one. Nothing is ever enlarged.
    """
    if spec.fit is Fit.COVER:
        return _cover(width, height, spec)
    scale = min(1.0, spec.width / width, spec.height / height)
    return Placement(_pixels(width * scale), _pixels(height * scale))


def _cover(width: int, height: int, spec: VariantSpec) -> Placement:
    scale = min(1.0, max(spec.width / width, spec.height / height))
    target = min(spec.width, _pixels(width * scale)), min(spec.height, _pixels(height * scale))
    across = min(1.0, target[0] / (width * scale))
    down = min(1.0, target[1] / (height * scale))
    left, top = (1.0 - across) / 2, (1.0 - down) / 2
    return Placement(*target, (left, top, left + across, top + down))


def _pixels(length: float) -> int:
    return max(1, int(length + 0.5))
