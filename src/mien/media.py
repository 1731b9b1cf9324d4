"""Read and write pictures.  Inside mien a picture is RGB uint8 (H, W, 3), upright; this is the door."""

from __future__ import annotations

import io
import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from mien.errors import ImageError, InputError, OutputError
from mien.files import atomic_path, printable
from mien.types import ImageArray

__all__ = [
    "DANGLING",
    "LINK",
    "MAX_PIXELS",
    "SOFTWARE",
    "UNDECODED_SUFFIXES",
    "encode_jpeg",
    "find_files",
    "find_images",
    "image_suffixes",
    "mark",
    "read_image",
    "software_of",
    "write_image",
]

log = logging.getLogger(__name__)

MAX_PIXELS = 170_000_000  # 510 MB as RGB; a picture that declares more is refused before it is decoded

#: What Pillow's decoders are seen to raise on damaged files (its AVIF decoder a plain RuntimeError).
_DECODING_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, AttributeError,
    RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
#: Formats that Pillow only recognizes or hands to another program, and IPTC, whose content Pillow opens as any format
#: it knows, these and any size among them: such a file is no picture here.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}
#: How files begin, after four bytes, that phones write and Pillow does not decode.
_HEIC = {b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")}
#: Formats that do not hold RGB.
_NOT_RGB = {"BLP", "MSP", "XBM"}
_GREY_BITS = (8, 10, 12, 14, 16)  # that cameras and scanners give
LINK = "a link to a folder, which is not followed"
DANGLING = "a link by which no file is reached"
#: Of pictures as phones and cameras write them and Pillow does not decode them.
UNDECODED_SUFFIXES = frozenset(
    (".heic", ".heif", ".hif", ".jxl", ".dng", ".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw",
     ".rw2", ".srw", ".x3f")
)  # fmt: skip
SOFTWARE = "mien"  # what annotated pictures and videos say made them
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # in pixels, of the formats that have one
_SOFTWARE_TAG = 0x0131  # of EXIF
#: The EXIF tag of the orientation, and how a picture of each is turned upright (EXIF 2.3, section 4.6.4).
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def read_image(
    source: str | Path | bytes | bytearray | memoryview | ImageArray, *, max_pixels: int = MAX_PIXELS
) -> ImageArray:
    """Return a picture as RGB uint8 (H, W, 3), turned upright by its EXIF orientation.

    source: a path, the bytes of a file, or an array that is RGB uint8 already.  Transparent pixels are laid on white,
    16 bits are brought to 8, CMYK and palettes to RGB; of an animation the first frame is taken.
    Raises ImageError where it is missing, empty, truncated, no picture, or declares more than max_pixels.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or 0 in source.shape:
            raise ImageError(f"expected an RGB array (H, W, 3) of uint8; got {source.shape} of {source.dtype}")
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _read(io.BytesIO(bytes(source)), "picture", max_pixels)
    if not isinstance(source, (str, Path)):
        raise ImageError(f"expected a path, the bytes of a picture or an RGB array; got {type(source).__name__}")
    name = printable(source)
    try:
        with Path(source).open("rb") as file:  # of a pipe all is read: decoders go back and forth
            return _read(file if file.seekable() else io.BytesIO(file.read()), name, max_pixels)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _read(file: IO[bytes], name: str, max_pixels: int) -> ImageArray:
    """Return the picture of an open file; ImageError, which begins with the name, where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of (size, odd metadata) is checked here or harmless
        try:
            if not file.read(1):
                raise ImageError(f"{name}: the file is empty; expected a picture")
            file.seek(0)
            return _decode(file, name, max_pixels)
        except UnidentifiedImageError as error:
            file.seek(4)
            if file.read(8) in _HEIC:
                raise ImageError(f"{name}: HEIC, which cannot be read here; save it as JPEG") from error
            raise ImageError(f"{name}: not a picture that Pillow can decode") from error
        except Image.DecompressionBombError as error:  # Pillow's own limit lies above this one
            raise ImageError(f"{name}: more than {max_pixels:,} pixels; make it smaller") from error
        except _DECODING_ERRORS as error:
            raise ImageError(f"{name}: damaged or truncated ({error}); expected a whole picture") from error


def _decode(file: IO[bytes], name: str, max_pixels: int) -> ImageArray:
    """Return the decoded picture, its size checked before its pixels are."""
    with Image.open(file, formats=_decoded_formats()) as image:
        if image.width * image.height > max_pixels:
            raise ImageError(f"{name}: {image.width}x{image.height} pixels, more than {max_pixels:,}; make it smaller")
        image.load()
        return np.array(_to_rgb(_upright(image, name)), np.uint8)


def _decoded_formats() -> list[str]:
    """Return the names of the formats that are decoded, in the order in which Pillow tries them."""
    Image.init()
    return [kind for kind in Image.ID if kind not in _NOT_DECODED]


def _upright(image: Image.Image, name: str) -> Image.Image:
    """Return the picture turned upright; as it lies where its EXIF is damaged, as that harms no pixel."""
    for written in ("xmp", "XML:com.adobe.xmp"):  # whose orientation nobody else obeys, and Pillow does without EXIF's
        image.info.pop(written, None)
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except _DECODING_ERRORS as error:
        log.debug("%s: damaged EXIF data (%s), taken as upright", name, error)
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture in 8-bit RGB."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _deep_grey(np.asarray(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _deep_grey(values: np.ndarray) -> Image.Image:
    """Return grey values of more than 8 bits as 8-bit grey.

    White is the largest value of 8, 10, 12, 14 or 16 bits, whichever is the first that no pixel exceeds, as files say
    nothing of it; 1.0 in pictures of real numbers up to that.
    """
    scaled = np.nan_to_num(values.astype(np.float32), copy=False, posinf=0.0, neginf=0.0)
    largest = float(scaled.max())
    if values.dtype.kind == "f" and largest <= 1.0:
        white = 1.0
    else:
        white = next((float(2**bits - 1) for bits in _GREY_BITS if largest < 2**bits), largest)
    scaled *= 255.0 / white
    return Image.fromarray(np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8))


def write_image(path: str | Path, image_rgb: ImageArray) -> None:
    """Write an RGB uint8 picture in the format that the suffix names, whole or not at all.

    Where the format has EXIF (JPEG, PNG, WebP, TIFF, AVIF) it names SOFTWARE.
    Raises InputError where the suffix is none of Pillow's, OutputError where the place cannot be written or the picture
    is too large for the format.
    """
    path = Path(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE or kind not in Image.OPEN or kind in _NOT_DECODED | _NOT_RGB:
        raise InputError(f"{path}: pictures cannot be written as {path.suffix or 'a file without a suffix'}; use .png")
    longest = max(image_rgb.shape)
    if longest > _LONGEST_SIDE.get(str(kind), longest):
        raise OutputError(f"{printable(path)}: {longest:,} pixels are too many for {kind}; write it as .png")
    with atomic_path(path) as temporary:
        Image.fromarray(image_rgb).save(temporary, format=kind, quality=92, exif=mark())


def mark() -> Image.Exif:
    """Return EXIF by which a picture says that mien made it."""
    exif = Image.Exif()
    exif[_SOFTWARE_TAG] = SOFTWARE
    return exif


def software_of(path: Path) -> str:
    """Return what a picture says that it was made by; empty where it says nothing or is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # see _read
            with Image.open(path, formats=_decoded_formats()) as image:
                # Not PNG's own, which decodes the picture to look behind it as well.
                return str(Image.Image.getexif(image).get(_SOFTWARE_TAG, ""))
    except (*_DECODING_ERRORS, Image.DecompressionBombError):
        return ""


def encode_jpeg(image_rgb: ImageArray, *, quality: int) -> bytes:
    """Return an RGB uint8 picture as the bytes of a JPEG file, which say nothing of where it is from."""
    file = io.BytesIO()
    Image.fromarray(image_rgb).save(file, format="JPEG", quality=quality)
    return file.getvalue()


def image_suffixes() -> frozenset[str]:
    """Return the file suffixes of the formats that Pillow decodes, in lower case."""
    known = Image.registered_extensions().items()
    decoded = {*_decoded_formats(), "MPO"}  # Pillow's JPEG decoder opens these
    return frozenset(suffix for suffix, kind in known if kind in decoded)


def find_images(folder: Path, *, on_left_out: Callable[[str, str], None] | None = None) -> Iterator[Path]:
    """Yield the pictures of a folder and of those below it, by suffix, in a fixed order; hidden ones are left out.

    on_left_out: as of `find_files`.
    """
    return find_files(folder, image_suffixes(), on_left_out=on_left_out)


def find_files(
    folder: Path,
    suffixes: frozenset[str],
    *,
    on_left_out: Callable[[str, str], None] | None = None,
    on_other: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Yield the files of a folder and of those below it that have one of the suffixes, as `find_images` does.

    on_left_out: called with what may hold such files and is left out, and why: folders that cannot be read or entered,
    links to folders, as these are not followed (why: LINK), and links with such a suffix by which no file is reached
    (why: DANGLING).
    on_other: called with each other file that is not hidden, in no order.
    """

    def leave_out(path: str | Path, why: str) -> None:
        if on_left_out:
            on_left_out(os.fspath(path), why)

    found = []
    told: set[Path] = set()
    for above, folders, names in os.walk(folder, onerror=lambda error: leave_out(error.filename, _reason(error))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(above)
        for name in folders:
            if os.path.islink(here / name):  # noqa: PTH114 - as os.walk does
                leave_out(here / name, LINK)
        for name in names:
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() in suffixes:
                found.append(here / name)
            elif on_other:
                on_other(here / name)
    for path in sorted(found):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            is_link = os.path.islink(path)  # noqa: PTH114 - pathlib's raises where a folder may be listed, not entered
            where = path.parent if isinstance(error, PermissionError) and not is_link else path
            if where not in told:
                told.add(where)
                leave_out(where, DANGLING if is_link else _reason(error))
            continue
        if stat.S_ISREG(mode):
            yield path
        elif on_other:
            on_other(path)


def _reason(error: OSError) -> str:
    """Return why the system refuses something."""
    return error.strerror or str(error)
