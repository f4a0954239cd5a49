"""How a replay is logged and told; the same for one photo and for many."""

from collections.abc import Sequence
from typing import Any

from adapters.events import get_logger
from application.reprocess_media import Reprocessed
from domain.lifecycle import State
from entrypoints.tools.shared import print_json, terminal

log = get_logger(__name__)


def log_replay(done: Reprocessed, *, dry_run: bool, **more: Any) -> None:
    """A line for each photo that was sent on its way, and for each that needed nothing."""
    if not dry_run:
        event = "media_replayed" if done.moved else "media_not_replayed"
        log.info(event, media_id=done.media.id, state=done.media.state.value, **more)


def tell_replays(done: Sequence[Reprocessed], *, dry_run: bool, as_json: bool) -> None:
    """What has happened, or would."""
    if as_json:
        print_json(
            [
                {"media_id": one.media.id, "replayed": one.moved, "dry_run": dry_run}
                | ({} if one.moved else {"status": one.media.state})
                for one in done
            ]
        )
        return
    for one in done:
        terminal().print(_sentence(one, dry_run=dry_run), soft_wrap=True)


def _sentence(done: Reprocessed, *, dry_run: bool) -> str:
    media = done.media
    if done.moved and dry_run:
        return f"{media.id} is FAILED and would be processed again."
    if done.moved:
        return f"{media.id} is UPLOADED and will be processed again, with all its attempts."
    if media.state is State.PENDING_UPLOAD:
        return f"{media.id} was never uploaded: there is nothing to process."
    return f"{media.id} is {media.state}, not FAILED: nothing to do."
