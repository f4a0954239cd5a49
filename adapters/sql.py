"""Statements kept in `.sql` files, in blocks that start with `-- name: the_name`."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load_statements(package: str, file_name: str) -> dict[str, str]:
    """Statement by name, from the file beside the modules of `package`."""
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{package}/{file_name} names a statement twice")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
