"""Images as files, arrays and sources: decoding, formats, sizes, tiles.

Every image becomes ``(H, W, 3)`` RGB, uint8 or uint16, whatever file or array it came from. An
``ImageSource`` is what detectors take: a name, a content digest, and a way to read the pixels when needed.
"""

from uad_orchestrator.images.decode import (
    IMAGE_SUFFIXES,
    ImageError,
    RgbImage,
    decode_image,
    read_image,
    read_mask,
)
from uad_orchestrator.images.file_facts import image_mode, image_size
from uad_orchestrator.images.formats import ImageFormat, sources_from, to_rgb
from uad_orchestrator.images.source import ImageSource

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageError",
    "ImageFormat",
    "ImageSource",
    "RgbImage",
    "decode_image",
    "image_mode",
    "image_size",
    "read_image",
    "read_mask",
    "sources_from",
    "to_rgb",
]
