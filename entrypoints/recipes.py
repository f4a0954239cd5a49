"""A recipe from TOML: a file's path, or the text itself.

name = "shop"
background = "#ffffff"        # what alpha is flattened on
animation = "first"           # or "keep"
copyright = "(c) The shop"    # optional

[[variants]]
name = "large"
width = 2048
height = 2048
fit = "inside"                # or "cover"
format = "webp"               # jpeg, png, avif, auto
quality = 80
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from domain.errors import InvalidConfiguration
from domain.recipe import Animation, Fit, OutputFormat, Recipe, VariantSpec


class _Variant(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    width: int
    height: int
    fit: Fit = Fit.INSIDE
    format: OutputFormat = OutputFormat.WEBP
    quality: int = 80


class _Recipe(msgspec.Struct, forbid_unknown_fields=True):
    variants: list[_Variant]
    name: str = "custom"
    background: str = "#ffffff"
    animation: Animation = Animation.FIRST
    copyright: str | None = None


def parse_recipe(source: str) -> Recipe:
    """The recipe in the file `source`, or in the text `source` if it has a line break or `=`.

    Raises InvalidConfiguration with one sentence for each problem, OSError, TOMLDecodeError.
    """
    is_text = "\n" in source or "=" in source
    text = source if is_text else Path(source).read_text(encoding="utf-8")
    plain = _checked(tomllib.loads(text))
    return Recipe(
        name=plain.name,
        background=plain.background,
        animation=plain.animation,
        copyright=plain.copyright,
        variants=tuple(VariantSpec(**msgspec.structs.asdict(one)) for one in plain.variants),
    )


def _checked(values: dict[str, Any]) -> _Recipe:
    try:
        return msgspec.convert(values, _Recipe)
    except msgspec.ValidationError as error:
        raise InvalidConfiguration([f"{error}."]) from error
