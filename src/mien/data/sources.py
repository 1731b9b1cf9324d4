"""One reader for each layout in which people have faces with labels; each yields samples and problems, row by row.

* `fer2013.csv` as Kaggle gives it: emotion, pixels, Usage.
* Folders: `train|val|test/<emotion>/*.png`; a test picture named PublicTest_* belongs to val, as in FER2013.
* A folder with `faces/` and `labels.csv`: file, emotion, optional person, split and licence.
* `fer2013new.csv` of FER+, the votes of ten taggers for each row of fer2013.csv.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.manifest import SPLITS
from mien.errors import DataError, ImageError, LabelError
from mien.faces.crop import cut
from mien.faces.detect import Detector, WholePicture
from mien.labels import FER2013, FERPLUS, FERPLUS_COLUMNS, VOTES, parse_label
from mien.media import find_images, read_image
from mien.spec import CropSpec
from mien.types import ImageArray

__all__ = [
    "FER2013_SIZE_PX",
    "Problem",
    "Sample",
    "Votes",
    "read_fer2013_csv",
    "read_ferplus",
    "read_folders",
    "read_labelled_faces",
    "whole_picture",
]

FER2013_SIZE_PX = 48
USAGE_TO_SPLIT = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
CROP_AT_MOST_PX = 64  # a labelled picture this small on both sides is a face that somebody has cut out already
VALIDATION_SHARE = 10  # one in so many Training pictures becomes validation where a source has none


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled crop as a source gives it."""

    source: str
    label: int  # index in labels.FERPLUS
    split: str
    crop: ImageArray  # (S, S) or (S, S, 3)
    row: int | None = None  # of fer2013.csv, counted from 0, where the source tells
    person: str | None = None
    licence: str | None = None
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One row or file that cannot be used, and why."""

    where: str
    why: str
    row: int | None = None

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.where}: {self.why}"


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """FER+'s answers for the rows of fer2013.csv."""

    usage: list[str]
    name: list[str]  # of the picture in FER+, empty where it has none
    counts: NDArray[np.uint8]  # (N, 10) in the order of labels.VOTES


def read_fer2013_csv(path: Path, spec: CropSpec) -> Iterator[Sample | Problem]:
    """Yield the rows of Kaggle's fer2013.csv, streamed.  DataError where the header is another one."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        if not {"emotion", "pixels", "Usage"} <= set(header):
            raise DataError(
                f"{path}: expected the columns emotion, pixels, Usage; got {', '.join(header) or 'nothing'}"
            )
        emotion, pixels, usage = (header.index(name) for name in ("emotion", "pixels", "Usage"))
        row = -1
        while True:
            row += 1
            where = f"{path.name}:{reader.line_num + 1}"
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Problem(where, f"not a row of CSV ({error})", row)
                continue
            if len(fields) != len(header):
                yield Problem(where, f"{len(fields)} fields, expected {len(header)} (is the line torn?)", row)
                continue
            checked = _fer2013_row(fields[emotion].strip(), fields[pixels], fields[usage].strip())
            if isinstance(checked, str):
                yield Problem(where, checked, row)
                continue
            label, face, split = checked
            yield Sample(where, label, split, whole_picture(face, spec), row)


def _fer2013_row(emotion: str, pixels: str, usage: str) -> tuple[int, ImageArray, str] | str:
    """Return label, face and split of one row, or what is wrong with it."""
    if not (emotion.isascii() and emotion.isdigit() and int(emotion) < len(FER2013)):
        return f"emotion is {emotion!r}, expected 0 to {len(FER2013) - 1}"
    if usage not in USAGE_TO_SPLIT:
        return f"Usage is {usage!r}, expected {', '.join(USAGE_TO_SPLIT)}"
    if not (pixels.isascii() and pixels.replace(" ", "").isdigit()):
        return "the pixels hold something that is not a number"
    values = np.fromstring(pixels, np.int64, sep=" ")
    if values.size != FER2013_SIZE_PX**2:
        return f"{values.size:,} pixels, expected {FER2013_SIZE_PX**2:,}"
    if (largest := int(values.max())) > 255:
        return f"a pixel of {largest}, expected 0 to 255"
    face = values.astype(np.uint8).reshape(FER2013_SIZE_PX, FER2013_SIZE_PX)
    return int(emotion), face, USAGE_TO_SPLIT[usage]


def read_ferplus(path: Path) -> Votes:
    """Return the votes of FER+'s fer2013new.csv.  DataError names the file and the row that is not as it should be."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        wanted = ["Usage", "Image name", *FERPLUS_COLUMNS]
        if missing := [name for name in wanted if name not in (reader.fieldnames or [])]:
            raise DataError(f"{path}: the columns {', '.join(missing)} are missing; expected FER+'s fer2013new.csv")
        usage, name, counts = [], [], []
        order = {answer: column for column, answer in FERPLUS_COLUMNS.items()}
        try:
            for record in reader:
                values = [(record[order[answer]] or "").strip() for answer in VOTES]
                if not all(value.isascii() and value.isdigit() and int(value) <= 255 for value in values):
                    raise DataError(f"{path}:{reader.line_num}: a vote is not a count: {', '.join(values)}")
                usage.append((record["Usage"] or "").strip())
                name.append((record["Image name"] or "").strip())
                counts.append([int(value) for value in values])
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not a row of CSV ({error})") from error
    return Votes(usage, name, np.array(counts, np.uint8).reshape(-1, len(VOTES)))


def read_folders(root: Path, spec: CropSpec, *, seed: int = 0) -> Iterator[Sample | Problem]:
    """Yield the pictures of `train|val|test/<emotion>/`, each of them one face.

    A test picture whose name begins with PublicTest belongs to val, as in FER2013.  Where neither a val folder nor
    such names exist, one in ten train pictures (chosen by a hash of name and seed) becomes val: see `folder_splits`.
    """
    by_name, cuts_validation = folder_splits(root)
    for top in ("train", "val", "test"):
        folder = _folder(root, top)
        for path in find_images(root / folder) if folder else []:
            where = path.relative_to(root).as_posix()
            try:
                label = parse_label(path.parent.name, known=FERPLUS, where=where)
                crop = whole_picture(read_image(path), spec)
            except (LabelError, ImageError) as error:
                yield Problem(where, str(error).removeprefix(f"{where}: ").removeprefix(f"{path}: "))
                continue
            split = top
            if top == "test" and by_name and path.name.startswith("PublicTest"):
                split = "val"
            if top == "train" and cuts_validation and zlib.crc32(f"{seed}/{where}".encode()) % VALIDATION_SHARE == 0:
                split = "val"
            yield Sample(where, label, split, crop, _row_in_name(path.stem))


def folder_splits(root: Path) -> tuple[bool, bool]:
    """Return (validation is named in test's file names, validation has to be cut from train) for a folder layout."""
    if _folder(root, "val"):
        return False, False
    test = _folder(root, "test")
    named = any(path.name.startswith("PublicTest") for path in find_images(root / test)) if test else False
    return named, not named


def _folder(root: Path, split: str) -> str | None:
    """Return the name of a split's folder, or None where it has none."""
    names = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}[split]
    return next((name for name in names if (root / name).is_dir()), None)


def _row_in_name(stem: str) -> int | None:
    """Return the row of fer2013.csv in a file name such as Training_17 or FER+'s fer0000017."""
    found = re.fullmatch(r"(?:Training|PublicTest|PrivateTest)_(\d+)|fer(\d{7})", stem)
    return int(found.group(1) or found.group(2)) if found else None


def read_labelled_faces(
    root: Path, spec: CropSpec, detector: Detector | None, *, split: str = "test"
) -> Iterator[Sample | Problem]:
    """Yield the pictures that labels.csv names in `faces/`, of several faces the largest.

    detector: finds the face; None takes each picture as the crop, as is done with those of at most 64 pixels.
    split: where labels.csv has no split column.  A picture without a face yields a missed sample, with a blank crop.
    """
    path = root / "labels.csv"
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        if missing := {"file", "emotion"} - set(reader.fieldnames or []):
            raise DataError(
                f"{path}: the columns {', '.join(sorted(missing))} are missing; expected file, emotion, ..."
            )
        for record in reader:
            where = f"{path.name}:{reader.line_num}"
            name = (record["file"] or "").strip()
            own_split = (record.get("split") or split).strip()
            try:
                label = _label(record["emotion"] or "", where)
                if own_split not in SPLITS:
                    raise LabelError(f"{where}: unknown split {own_split!r}; expected one of {', '.join(SPLITS)}")
                crop = _largest_face(read_image(root / "faces" / name), spec, detector)
            except (LabelError, ImageError) as error:
                yield Problem(where, str(error).removeprefix(f"{where}: "))
                continue
            yield Sample(
                source=f"faces/{name}",
                label=label,
                split=own_split,
                crop=np.zeros(spec.shape, np.uint8) if crop is None else crop,
                person=(record.get("person") or "").strip() or None,
                licence=(record.get("licence") or "").strip() or None,
                missed=crop is None,
            )


def _label(text: str, where: str) -> int:
    """Return the label of a name or of FER2013's number."""
    text = text.strip()
    if text.isascii() and text.isdigit() and int(text) < len(FERPLUS):
        return int(text)
    return parse_label(text, known=FERPLUS, where=where)


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
