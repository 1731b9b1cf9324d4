"""Read and write pictures.  Inside mien a picture is RGB uint8 (H, W, 3), upright; this is the door."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import ImageError, InputError
from mien.files import atomic_path
from mien.types import ImageArray

__all__ = ["MAX_PIXELS", "find_images", "image_suffixes", "read_image", "write_image"]

MAX_PIXELS = 200_000_000  # 600 MB as RGB; a picture that declares more is refused before it is decoded

#: What Pillow's decoders are seen to raise on damaged files.
_DECODING_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, AttributeError,
    NotImplementedError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
#: Formats that Pillow only recognizes, or hands to another program.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}


def read_image(source: str | Path | bytes | ImageArray) -> ImageArray:
    """Return a picture as RGB uint8 (H, W, 3), turned upright by its EXIF orientation.

    source: a path, the bytes of a file, or an array that is RGB uint8 already.  Transparent pixels are laid on white,
    16 bits are brought to 8, CMYK and palettes to RGB; of an animation the first frame is taken.
    Raises ImageError where it is missing, empty, truncated, no picture, or declares more than MAX_PIXELS.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or 0 in source.shape:
            raise ImageError(f"expected an RGB array (H, W, 3) of uint8; got {source.shape} of {source.dtype}")
        return source
    name = "picture" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not content:
        raise ImageError(f"{name}: the file is empty; expected a picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of (size, odd metadata) is checked here or harmless
        try:
            return _decode(content, name)
        except UnidentifiedImageError as error:
            raise ImageError(f"{name}: not a picture that Pillow can decode") from error
        except _DECODING_ERRORS as error:
            raise ImageError(f"{name}: damaged or truncated ({error}); expected a whole picture") from error


def _decode(content: bytes, name: str) -> ImageArray:
    """Return the decoded picture, its size checked before its pixels are."""
    with Image.open(io.BytesIO(content)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(f"{name}: {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}; make it smaller")
        image.load()
        return np.array(_to_rgb(ImageOps.exif_transpose(image)), np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture in 8-bit RGB."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _deep_grey(np.asarray(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _deep_grey(values: np.ndarray) -> Image.Image:
    """Return grey values of more than 8 bits as 8-bit grey: 65535 is white, or 255 or 1.0 where none is larger."""
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    largest = finite.max()
    if values.dtype.kind == "f" and largest <= 1.0:
        white = 1.0
    elif values.dtype.kind == "f" and largest <= 255.0:
        white = 255.0
    else:
        white = max(65535.0, largest)
    return Image.fromarray(np.clip(finite / white * 255.0, 0, 255).round().astype(np.uint8))


def write_image(path: str | Path, image_rgb: ImageArray) -> None:
    """Write an RGB uint8 picture in the format that the suffix names, whole or not at all.

    Raises InputError where the suffix is none of Pillow's, OutputError where the place cannot be written.
    """
    path = Path(path)
    registered = Image.registered_extensions().get(path.suffix.lower())
    if registered not in Image.SAVE:
        raise InputError(f"{path}: pictures cannot be written as {path.suffix or 'a file without a suffix'}; use .png")
    with atomic_path(path) as temporary:
        Image.fromarray(image_rgb).save(temporary, format=registered, quality=92)


def image_suffixes() -> frozenset[str]:
    """Return the file suffixes of the formats that Pillow decodes, in lower case."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in Image.OPEN and kind not in _NOT_DECODED)


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the pictures of a folder and of those below it, by suffix, in a fixed order; hidden ones are left out."""
    suffixes = image_suffixes()
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path
