"""A recipe is checked once, when it is made, and its hash changes with every variant."""

from dataclasses import replace
from typing import Any

import pytest

from domain.errors import InvalidConfiguration
from domain.recipe import (
    CONTENT_TYPES,
    EXTENSIONS,
    Animation,
    Fit,
    OutputFormat,
    Recipe,
    VariantSpec,
    default_recipe,
)

THUMB = VariantSpec(name="thumb", width=256, height=256)


def recipe(*variants: VariantSpec, **settings: Any) -> Recipe:
    given: dict[str, Any] = {"name": "r", "variants": variants or (THUMB,), **settings}
    return Recipe(**given)


def test_the_default_recipe_makes_four_webp_variants() -> None:
    bounds = [(v.name, v.width, v.height, v.format) for v in default_recipe().variants]
    assert bounds == [
        ("large", 2048, 2048, OutputFormat.WEBP),
        ("medium", 1024, 1024, OutputFormat.WEBP),
        ("small", 512, 512, OutputFormat.WEBP),
        ("thumb", 256, 256, OutputFormat.WEBP),
    ]


def test_every_problem_is_told_at_once() -> None:
    bad = VariantSpec(name="Bad name", width=0, height=8193, quality=101)
    with pytest.raises(InvalidConfiguration) as raised:
        recipe(bad, bad, background="white", copyright="")
    assert len(raised.value.problems) == 2 * 4 + 3
    assert all(problem.endswith(".") for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "Variant name ''"),
        ({"name": "a" * 33}, "Variant name"),
        ({"name": "../etc"}, "Variant name '../etc'"),
        ({"name": "thumb\n"}, "Variant name"),
        ({"width": 0}, "The width of variant 'thumb'"),
        ({"height": 8193}, "The height of variant 'thumb'"),
        ({"quality": 0}, "The quality of variant 'thumb'"),
    ],
)
def test_a_variant_that_breaks_a_rule_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConfiguration, match=problem):
        recipe(replace(THUMB, **change))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"variants": ()}, "must have 1 to 16 variants"),
        ({"variants": (THUMB, THUMB)}, "names a variant twice"),
        ({"name": "UPPER"}, "Recipe name 'UPPER'"),
        ({"background": "#FFFFFF"}, "must be a colour such as #ffffff"),
        ({"copyright": "c" * 201}, "must be 1 to 200 characters"),
    ],
)
def test_a_recipe_that_breaks_a_rule_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConfiguration, match=problem):
        recipe(**settings)


def test_the_largest_values_are_allowed() -> None:
    many = tuple(replace(THUMB, name=f"v{n}", width=8192, quality=100) for n in range(16))
    assert len(recipe(*many, copyright="c" * 200).variants) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"variants": (replace(THUMB, width=255),)},
        {"variants": (replace(THUMB, height=255),)},
        {"variants": (replace(THUMB, fit=Fit.COVER),)},
        {"variants": (replace(THUMB, format=OutputFormat.PNG),)},
        {"variants": (replace(THUMB, quality=81),)},
        {"variants": (replace(THUMB, name="other"),)},
        {"background": "#000000"},
        {"animation": Animation.KEEP},
        {"copyright": "A name"},
    ],
)
def test_the_hash_changes_with_everything_that_shows(change: dict[str, Any]) -> None:
    assert recipe(**change).hash != recipe().hash


def test_the_hash_does_not_depend_on_the_name_of_the_recipe() -> None:
    assert recipe(name="a").hash == recipe(name="b").hash


def test_every_format_but_auto_has_a_content_type_and_an_extension() -> None:
    assert set(CONTENT_TYPES) == set(OutputFormat) - {OutputFormat.AUTO}
    assert set(CONTENT_TYPES.values()) == set(EXTENSIONS)
