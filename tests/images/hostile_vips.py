"""The decoder of `hostile`, among threads and libraries of libvips."""

from adapters.vips.decoder import DECODER as VIPS
from tests.images.hostile import HostileDecoder

DECODER = HostileDecoder(VIPS)
