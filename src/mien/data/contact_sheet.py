"""A set of faces at a glance: kept and dropped ones in one picture, the dropped by the reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.data.faceset import DUPLICATE, FaceRow, FaceSet
from mien.data.quality import REASONS
from mien.files import atomic_path

__all__ = ["CONTACT_SHEET_NAME", "draw_contact_sheet", "in_words"]

CONTACT_SHEET_NAME = "contact-sheet.jpg"
TILE_PX = 96
COLUMNS = 14
KEPT_SHOWN = 8 * COLUMNS
DROPPED_SHOWN = 2 * COLUMNS  # of each reason
HEADING_PX = 34
GAP_PX = 4
INK, PAPER = (20, 20, 20), (250, 250, 250)


def in_words(reason: str) -> str:
    """Return the reason for which a face is dropped in words."""
    return "a copy of another" if reason == DUPLICATE else REASONS.get(reason, reason)


def draw_contact_sheet(faceset: FaceSet) -> Path:
    """Draw `contact-sheet.jpg` into a set's folder and return its path.

    Of many faces some are shown, evenly spread over the set.  A face with several reasons stands under the first.
    """
    kept, dropped = faceset.faces(), faceset.faces(kept=False)
    by_reason: dict[str, list[FaceRow]] = {}
    for face in dropped:
        by_reason.setdefault(face.reason.split(", ")[0], []).append(face)
    sections = [("kept", kept, KEPT_SHOWN)]
    sections += [
        (f"dropped: {in_words(reason)}", faces, DROPPED_SHOWN)
        for reason, faces in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]
    parts = [_section(faceset, title, faces, most) for title, faces, most in sections]
    width = COLUMNS * (TILE_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    path = faceset.folder / CONTACT_SHEET_NAME
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=88)
    return path


def _section(faceset: FaceSet, title: str, faces: Sequence[FaceRow], most: int) -> Image.Image:
    """Return the heading and some of the faces as one strip."""
    chosen = [faces[index] for index in np.linspace(0, len(faces) - 1, min(most, len(faces))).astype(int)]
    rows = math.ceil(len(chosen) / COLUMNS)
    width = COLUMNS * (TILE_PX + GAP_PX) + GAP_PX
    strip = Image.new("RGB", (width, HEADING_PX + rows * (TILE_PX + GAP_PX) + GAP_PX), PAPER)
    shown = f", {len(chosen):,} of them shown" if len(chosen) < len(faces) else ""
    text = f"{title}: {len(faces):,}{shown}"
    ImageDraw.Draw(strip).text((GAP_PX + 2, 7), text, fill=INK, font=ImageFont.load_default(17))
    crops = faceset.crops([face.key for face in chosen])
    for index, crop in enumerate(crops):
        tile = Image.fromarray(crop).convert("RGB").resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
        row, column = divmod(index, COLUMNS)
        strip.paste(tile, (GAP_PX + column * (TILE_PX + GAP_PX), HEADING_PX + row * (TILE_PX + GAP_PX)))
    return strip
