"""What the chain of variants asks of Pillow."""
# pyright: reportUnknownMemberType=false
# (Pillow's annotations name numpy, which is not installed.)

from PIL import Image

from adapters.pillow.encoding import Finish, encode
from adapters.sandbox.chain import Size, Tools
from adapters.sandbox.film import Film
from adapters.sandbox.geometry import Box
from domain.recipe import OutputFormat, Recipe

_BICUBIC, _LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS

# By measurement (docs/images.md): it costs no variant more than 0.003 of SSIM.
_BICUBIC_FROM_PIXELS = 500_000  # larger pictures are scaled down with the cheaper filter
_REDUCING_GAP = 2.0


class PillowTools(Tools[Image.Image]):
    """Frames are pictures in L, LA, RGB or RGBA (and CMYK until they are sRGB)."""

    def __init__(self, recipe: Recipe) -> None:
        self._finish = Finish(background=recipe.background, copyright=recipe.copyright)

    def size(self, frame: Image.Image) -> Size:
        return frame.size

    def has_alpha(self, frame: Image.Image) -> bool:
        return frame.mode in ("LA", "RGBA")

    def resize(self, frame: Image.Image, size: Size, box: Box | None) -> Image.Image:
        large = size[0] * size[1] >= _BICUBIC_FROM_PIXELS
        return frame.resize(size, _BICUBIC if large else _LANCZOS, box, _REDUCING_GAP)

    def encode(self, film: Film[Image.Image], form: OutputFormat, quality: int) -> bytes:
        return encode(film, form, quality, self._finish)

    def tiny(self, frame: Image.Image, edge: int) -> tuple[Size, bytes]:
        small = frame.convert("RGBA")
        small.thumbnail((edge, edge), Image.Resampling.BOX, reducing_gap=None)
        return small.size, small.tobytes()
