"""The picture alone: decode, resize and encode in one process, no sandbox, no queue, no store.

python -m benchmarks.bare MODULE FORMAT PHOTO...     prints the mean milliseconds of a photo
"""

import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter

from adapters.sandbox import containers
from adapters.sandbox.decoder import Decoder
from adapters.sandbox.messages import Caps
from benchmarks.throughput import recipe
from entrypoints.recipes import parse_recipe

CAPS = Caps(
    max_bytes=1 << 26,
    max_pixels=50_000_000,
    max_frames=1000,
    cpu_seconds=60,
    address_space_bytes=1 << 40,
    output_bytes=1 << 26,
    open_files=64,
)


def main(module: str, form: str) -> None:
    decoder: Decoder = import_module(module).DECODER
    decoder.preload()
    wanted = parse_recipe(recipe(form))
    for line in sys.stdin:
        data = Path(line.strip()).read_bytes()
        began = perf_counter()
        picture = decoder.open(data, containers.identify(data, "image/jpeg"), wanted, CAPS)
        picture.decode()
        for _ in picture.variants():
            pass
        picture.placeholder()
        print(perf_counter() - began, flush=True)  # noqa: T201 - to the harness


if __name__ == "__main__":
    main(*sys.argv[1:])
