"""What must never be read in a log line, taken out of every text that goes into one.

Three nets, because any one of them has holes: the very secrets of this installation, the shapes
in which secrets travel (userinfo and query of a URL, `name=value` of a telling name, bearer
tokens), and the names of fields. Bytes are never shown, only counted; long texts are cut.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"
TEXT_MAX = 1000
_READ_MAX = 4 * TEXT_MAX
_SECRET_MIN = 4  # shorter ones would blank out half of every line

_NAMES = (
    r"pass(?:word|wd|phrase)?|secret(?:[_-]?(?:access)?[_-]?key)?|access[_-]?key(?:[_-]?id)?"
    r"|api[_-]?key|auth(?:orization)?|credentials?|signature|session[_-]?token|cookie"
    r"|x-amz-[a-z0-9-]+|upload_url|final_url"
)
_FIELD = re.compile(rf"(?:[a-z0-9]+[_-])*(?:{_NAMES})", re.IGNORECASE)
# Ids, states and numbers: without a space, `:` or `=` none of the rules below can find anything.
_WORD = re.compile(r"[\w.-]*")
# A scheme is bounded, and no URL goes on past the next one: else the time would be quadratic.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"([a-z][a-z0-9+.-]{0,30}://)[^\s/?#@'\"]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"([a-z][a-z0-9+.-]{0,30}://(?:(?!://)[^\s?#'\"<>])+)\?[^\s'\"<>]+", re.IGNORECASE
        ),
        rf"\1?{HIDDEN}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            rf"((?<![a-z0-9])(?:{_NAMES})['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,;&'\"]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


class Redactor:
    """Cleans texts and fields. `secrets` are the installation's own, wherever they appear."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= _SECRET_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, value: str) -> str:
        """`value` without secrets, at most TEXT_MAX characters and a mark."""
        if len(value) > _READ_MAX:  # the rules below take time; half a secret must not survive
            value = f"{value[:_READ_MAX].rpartition(' ')[0] or value[:TEXT_MAX]}…"
        if self._known is not None:
            value = self._known.sub(HIDDEN, value)
        if _WORD.fullmatch(value) is None:
            for pattern, replacement in _RULES:
                value = pattern.sub(replacement, value)
        return value if len(value) <= TEXT_MAX else f"{value[:TEXT_MAX]}…"

    def field(self, name: str, value: Any) -> Any:
        """`value` as it may be shown under `name`: JSON's types only."""
        if _is_telling(name):
            return HIDDEN
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes | bytearray):
            return f"<{len(value)} bytes>"
        if isinstance(value, Mapping):
            return {str(k): self.field(str(k), v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # any mapping of any caller
        if isinstance(value, list | tuple | set | frozenset):
            return [self.field("", item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # any list of any caller
        return self.text(str(value))


@lru_cache(maxsize=1024)
def _is_telling(name: str) -> bool:
    """Whether a field of this name holds a secret. There are few names, in many lines."""
    return _FIELD.fullmatch(name) is not None
