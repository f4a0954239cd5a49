"""libvips as a decoder for the sandbox. Imported by the forkserver, never by the worker."""

from adapters.sandbox.containers import Kind
from adapters.sandbox.decoder import Decoder, Picture
from adapters.sandbox.messages import Caps
from adapters.sandbox.structure import count_frames
from adapters.vips.library import Damaged, rehearse, set_up
from adapters.vips.picture import VipsPicture
from domain.recipe import Recipe


class VipsDecoder(Decoder):
    """libvips computes in a thread of its own even when it is told to use one."""

    threads = True
    damage = (Damaged,)

    def preload(self) -> None:
        set_up()
        rehearse()

    def open(self, data: bytes, kind: Kind, recipe: Recipe, caps: Caps) -> Picture:
        frames = count_frames(data, kind, caps.max_frames)
        return VipsPicture(data, kind, recipe, frames=frames)


DECODER = VipsDecoder()
