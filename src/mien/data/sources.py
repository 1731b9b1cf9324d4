"""One reader for each layout in which people have faces with labels; each yields samples and problems, row by row.

* `fer2013.csv` as Kaggle gives it: emotion, pixels, Usage.
* Folders: `train|val|test/<emotion>/*.png`; a test picture named PublicTest_* belongs to val, as in FER2013.
* A folder with `faces/` and `labels.csv`: file, emotion, optional person, split and licence.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mien.data.manifest import SPLITS
from mien.data.records import not_utf8, read_records, small_number
from mien.errors import DataError, ImageError, InputError, LabelError
from mien.faces.crop import cut
from mien.faces.detect import Detector, WholePicture
from mien.files import printable
from mien.labels import FER2013, FERPLUS, parse_label
from mien.media import find_images, read_image
from mien.spec import CropSpec
from mien.types import ImageArray

__all__ = [
    "CROP_AT_MOST_PX",
    "Problem",
    "Sample",
    "count_pictures",
    "describe_validation",
    "folder_splits",
    "names_every_split",
    "read_fer2013_csv",
    "read_folders",
    "read_labelled_faces",
    "whole_picture",
]

FER2013_SIZE_PX = 48
USAGE_TO_SPLIT = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
CROP_AT_MOST_PX = 64  # a labelled picture this small on both sides is a face that somebody has cut out already
OPTIONAL_COLUMNS = ("person", "split", "licence")  # that labels.csv may tell beside file and emotion
VALIDATION_SHARE = 10  # one in so many Training pictures becomes validation where a source has none


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled crop as a source gives it."""

    source: str
    label: int  # index in labels.FERPLUS
    split: str
    crop: ImageArray  # (S, S) or (S, S, 3)
    row: int | None = None  # of fer2013.csv, counted from 0, where the source tells
    usage: str = ""  # in fer2013.csv, where the source tells
    ferplus_name: str = ""  # of the picture in FER+, where the source tells
    votes: NDArray[np.uint8] | None = None  # (10,) counts in the order of labels.VOTES
    person: str | None = None
    licence: str | None = None
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One row or file that cannot be used, and why."""

    where: str
    why: str
    row: int | None = None  # of fer2013.csv, as of a sample
    fatal: bool = False  # it cannot be dropped, as it shows that all rows are in doubt

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.where}: {self.why}"


def read_fer2013_csv(path: Path, spec: CropSpec) -> Iterator[Sample | Problem]:
    """Yield the rows of Kaggle's fer2013.csv, streamed.  DataError where the header is another one.

    An empty line is a problem and no row: the rows after it keep their numbers.
    """
    row = -1
    for line, record in read_records(path, ("emotion", "pixels", "Usage")):
        where = f"{printable(path.name)}:{line}"
        if not record:
            yield Problem(where, "the line is empty")
            continue
        row += 1
        checked = record if isinstance(record, str) else _fer2013_row(record)
        if isinstance(checked, str):
            yield Problem(where, checked, row)
            continue
        label, face, usage = checked
        yield Sample(where, label, USAGE_TO_SPLIT[usage], whole_picture(face, spec), row=row, usage=usage)


def _fer2013_row(record: dict[str, str]) -> tuple[int, ImageArray, str] | str:
    """Return label, face and Usage of one row, or what is wrong with it."""
    emotion, pixels, usage = record["emotion"], record["pixels"], record["Usage"]
    if (label := small_number(emotion, below=len(FER2013))) is None:
        return f"emotion is {reprlib.repr(emotion)}, expected 0 to {len(FER2013) - 1}"
    if usage not in USAGE_TO_SPLIT:
        return f"Usage is {reprlib.repr(usage)}, expected {', '.join(USAGE_TO_SPLIT)}"
    if not (pixels.isascii() and pixels.replace(" ", "").isdigit()):
        return "the pixels are not numbers with spaces between them"
    values = np.fromstring(pixels, np.int64, sep=" ")
    if values.size != FER2013_SIZE_PX**2:
        return f"{values.size:,} pixels, expected {FER2013_SIZE_PX**2:,}"
    if (largest := int(values.max())) > 255:
        return f"a pixel of {largest}, expected 0 to 255"
    return label, values.astype(np.uint8).reshape(FER2013_SIZE_PX, FER2013_SIZE_PX), usage


def read_folders(root: Path, spec: CropSpec, *, seed: int = 0) -> Iterator[Sample | Problem]:
    """Yield the pictures of `train|val|test/<emotion>/`, each of them one face.

    A test picture whose name begins with PublicTest belongs to val, as in FER2013.  Where neither a val folder nor
    such names exist, one in ten train pictures becomes val: see `folder_splits`.  It is chosen by a hash of its pixels
    and the seed, so that identical pictures stay together.
    """
    by_name, cuts_validation = folder_splits(root)
    left_out: list[Problem] = []

    def leave_out(name: str, why: str) -> None:
        left_out.append(Problem(printable(Path(name).relative_to(root).as_posix()), why))

    for top in SPLITS:
        folder = _folder(root, top)
        for path in find_images(root / folder, on_left_out=leave_out) if folder else []:
            where = printable(path.relative_to(root).as_posix())
            try:
                label = parse_label(path.parent.name, known=FERPLUS, where=where)
                image = read_image(path)
            except (LabelError, ImageError) as error:
                told = printable(str(error))
                yield Problem(where, told.removeprefix(f"{where}: ").removeprefix(f"{printable(path)}: "))
                continue
            row, usage, name = _place_in_fer2013(path.stem)
            split = top
            if top == "test" and by_name and path.name.startswith("PublicTest"):
                split = "val"
            if top == "train" and cuts_validation and _is_cut_off(image, seed):
                split = "val"
            yield Sample(where, label, split, whole_picture(image, spec), row=row, usage=usage, ferplus_name=name)
    yield from left_out


def folder_splits(root: Path) -> tuple[bool, bool]:
    """Return (validation is named in test's file names, validation has to be cut from train) for a folder layout."""
    if _folder(root, "val"):
        return False, False
    test = _folder(root, "test")
    named = any(path.name.startswith("PublicTest") for path in find_images(root / test)) if test else False
    return named, not named


def describe_validation(root: Path, *, seed: int) -> str:
    """Return in words where the validation of a folder layout comes from."""
    named, cut = folder_splits(root)
    if cut:
        return f"one in ten train pictures, by a hash of pixels and seed {seed} (the source names none)"
    return "the test pictures named PublicTest_*" if named else f"the folder {_folder(root, 'val')}"


def count_pictures(root: Path) -> int:
    """Return how many pictures the folders of the splits hold."""
    folders = [_folder(root, split) for split in SPLITS]
    return sum(1 for folder in folders if folder for _ in find_images(root / folder))


def _folder(root: Path, split: str) -> str | None:
    """Return the name of a split's folder, or None where it has none."""
    names = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}[split]
    return next((name for name in names if (root / name).is_dir()), None)


def _is_cut_off(image: ImageArray, seed: int) -> bool:
    """Return whether a train picture becomes validation."""
    hashed = hashlib.blake2b(f"{seed}/".encode() + image.tobytes(), digest_size=8).digest()
    return int.from_bytes(hashed) % VALIDATION_SHARE == 0


def _place_in_fer2013(stem: str) -> tuple[int | None, str, str]:
    """Return (row of fer2013.csv, Usage, name in FER+), as far as a name such as Training_17 or fer0000017 tells."""
    if re.fullmatch(r"fer\d{7}", stem, re.ASCII):
        return None, "", f"{stem}.png"
    usage, _, row = stem.partition("_")
    if usage in USAGE_TO_SPLIT and re.fullmatch(r"\d{1,18}", row, re.ASCII):
        return int(row), usage, ""
    return None, "", ""


def read_labelled_faces(
    root: Path, spec: CropSpec, detector: Detector | None, *, split: str = "test"
) -> Iterator[Sample | Problem]:
    """Yield the pictures that labels.csv names in `faces/`, of several faces the largest.

    detector: finds the face; None takes each picture as the crop, as is done with those of at most 64 pixels.
    split: where labels.csv names none.  A picture without a face yields a missed sample, with a blank crop.  A picture
    that is listed again is a problem.
    """
    path = root / "labels.csv"
    listed: dict[str, int] = {}  # the picture -> the line that gave its face
    for line, record in read_records(path, ("file", "emotion"), OPTIONAL_COLUMNS):
        where = f"{path.name}:{line}"
        if not record:
            continue
        if isinstance(record, str):
            yield Problem(where, record)
            continue
        own_split = record.get("split") or split
        try:
            label = _label(record["emotion"], where)
            if own_split not in SPLITS:
                raise LabelError(f"unknown split {reprlib.repr(own_split)}; expected one of {', '.join(SPLITS)}")
            if why := not_utf8(record, ("person", "licence")):
                raise DataError(why)
            picture = posixpath.normpath(_inside(record["file"]))
            if picture in listed:
                raise DataError(f"{record['file']} is in line {listed[picture]} already; name a picture once")
            crop = _largest_face(read_image(root / "faces" / picture), spec, detector)
        except InputError as error:
            yield Problem(where, printable(str(error).removeprefix(f"{where}: ")))
            continue
        listed[picture] = line
        yield Sample(
            source=printable(f"faces/{record['file']}"),
            label=label,
            split=own_split,
            crop=np.zeros(spec.shape, np.uint8) if crop is None else crop,
            person=printable(record.get("person", "")) or None,
            licence=printable(record.get("licence", "")) or None,
            missed=crop is None,
        )


def names_every_split(root: Path) -> bool:
    """Return whether labels.csv names a split in every line that is a row; not where it cannot be read at all."""
    some = False
    try:
        for _, record in read_records(root / "labels.csv", ("file", "emotion"), OPTIONAL_COLUMNS):
            if isinstance(record, dict) and record:
                if not record.get("split"):
                    return False
                some = True
    except DataError:
        return False
    return some


def _inside(name: str) -> str:
    """Return the name of a file in `faces/`; DataError where there is none or it leads out of that folder."""
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"the file is {reprlib.repr(name)}; expected the name of a picture in faces/")
    return name


def _label(text: str, where: str) -> int:
    """Return the label of a name or of FER2013's number."""
    number = small_number(text, below=len(FERPLUS))
    return parse_label(text, known=FERPLUS, where=where) if number is None else number


def _largest_face(image_rgb: ImageArray, spec: CropSpec, detector: Detector | None) -> ImageArray | None:
    """Return the crop of the largest face, the whole of a picture that is a crop already, None where no face is."""
    if detector is None or max(image_rgb.shape[:2]) <= CROP_AT_MOST_PX:
        return whole_picture(image_rgb, spec)
    faces = detector(image_rgb)
    return cut(image_rgb, faces[0], spec) if faces else None


def whole_picture(image: ImageArray, spec: CropSpec) -> ImageArray:
    """Return the crop of a picture that is one face: its middle square, in the size and colour of the spec."""
    if image.ndim == 2:
        if spec.colour == "grey" and image.shape == (spec.size_px, spec.size_px):
            return image
        image = np.repeat(image[..., None], 3, axis=2)
    return cut(image, WholePicture()(image)[0], spec)
