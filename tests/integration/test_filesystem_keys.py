"""Keys as paths: one to one, and never out of the folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.filesystem.errors import InvalidKey
from adapters.filesystem.keys import folder_of_prefix, key_to_path, path_to_key

_KEYS = st.one_of(
    st.text(alphabet="a./%+&\\ \x00é📷", min_size=1, max_size=40),
    st.lists(st.sampled_from(["", ".", "..", "a", "." * 201, "b" * 199 + ".."]), min_size=2).map(
        "/".join
    ),
).filter(lambda key: len(key.encode()) <= 1024)


@given(_KEYS)
def test_every_key_has_a_path_of_its_own_below_the_root(key: str) -> None:
    path = key_to_path(key)
    assert not path.is_absolute()
    assert not {"..", ".", ""} & set(path.parts)
    assert all(len(part.encode()) <= 255 for part in path.parts)
    assert path_to_key(Path(path)) == key


@given(_KEYS, st.data())
def test_a_prefix_leads_to_a_folder_that_holds_the_key(key: str, data: st.DataObject) -> None:
    prefix = key[: data.draw(st.integers(0, len(key)))]
    assert key_to_path(key).is_relative_to(folder_of_prefix(prefix))


def test_an_object_and_a_folder_of_the_same_name_do_not_meet() -> None:
    assert key_to_path("a/b").parent != key_to_path("a")


@pytest.mark.parametrize("key", ["", "k" * 1025, "\ud800"])
def test_a_key_that_no_store_would_take_is_refused(key: str) -> None:
    with pytest.raises(InvalidKey):
        key_to_path(key)
