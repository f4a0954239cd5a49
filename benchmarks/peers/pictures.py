"""Four variants of one photo in memory: as most teams write it, with Pillow or with libvips."""

import io
from collections.abc import Iterator

EDGES = {"large": 2048, "medium": 1024, "small": 512, "thumb": 256}


def with_pillow(data: bytes, extension: str) -> Iterator[tuple[str, bytes]]:
    """Full decode; each variant from the full picture, Lanczos."""
    from PIL import Image, ImageCms, ImageOps

    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if profile := picture.info.get("icc_profile"):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB")
    picture = picture.convert("RGB")
    for name, edge in EDGES.items():
        variant = picture.copy()
        variant.thumbnail((edge, edge), Image.Resampling.LANCZOS)
        variant.info.clear()
        file = io.BytesIO()
        if extension == "jpg":
            variant.save(file, "JPEG", quality=82)
        else:
            variant.save(file, "WEBP", quality=80)
        yield name, file.getvalue()


def with_vips(data: bytes, extension: str) -> Iterator[tuple[str, bytes]]:
    """Shrink while loading; each variant from the one before it."""
    import pyvips

    picture = None
    for name, edge in EDGES.items():
        if picture is None:
            picture = pyvips.Image.thumbnail_buffer(data, edge, height=edge, size="down")
            has_profile = picture.get_typeof("icc-profile-data")
            if has_profile and b"sRGB" not in picture.get("icc-profile-data"):
                picture = picture.icc_transform("srgb", embedded=True)
        else:
            picture = picture.thumbnail_image(edge, height=edge, size="down")
        picture = picture.copy_memory()
        quality = "Q=82" if extension == "jpg" else "Q=80"
        yield name, picture.write_to_buffer(f".{extension}[{quality},keep=none]")
