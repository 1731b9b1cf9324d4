"""A set of faces described beside its faces: where they come from, what was dropped, how good the rest is."""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mien.data import agreement_page
from mien.data.agreement import measured_in_words
from mien.data.annotate import LabelStore
from mien.data.contact_sheet import CONTACT_SHEET_NAME, in_words
from mien.data.datasheet import AUDIT_NAME, DATASHEET_NAME, told
from mien.data.faceset import QUALITIES, FaceRow, FaceSet
from mien.data.pages import bars, bullets, page, table
from mien.data.people import person_key
from mien.data.ratings import gather
from mien.files import atomic_folder

__all__ = ["write_set_datasheet"]

LISTED = 200
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def write_set_datasheet(faceset: FaceSet, folder: Path | None = None) -> Path:
    """Write `datasheet.html` and `audit.json` into a folder, by default the set's own; return the page's path."""
    folder = folder or faceset.folder
    found = _audit(faceset)
    with atomic_folder(folder) as temporary:
        (temporary / AUDIT_NAME).write_text(json.dumps(found, indent=1), encoding="utf-8")
        (temporary / DATASHEET_NAME).write_text(_page(faceset, found), encoding="utf-8")
    return folder / DATASHEET_NAME


def _audit(faceset: FaceSet) -> dict[str, Any]:
    """Return what is known of a set, as JSON can hold it."""
    kept, dropped, files = faceset.faces(), faceset.faces(kept=False), faceset.files()
    answers = LabelStore(faceset.folder).answers()
    keys = {face.key for face in kept}
    people = {person_key(face.person) for face in kept if face.person}
    return {
        "settings": faceset.settings,
        "files": len(files),
        "pictures": sum(file.pictures for file in files),
        "unreadable": [f"{file.name}: {file.error}" for file in files if file.error],
        "faces": len(kept) + len(dropped),
        "kept": len(kept),
        "dropped": dict(Counter(why for face in dropped for why in face.reason.split(", ")).most_common()),
        "people": len(people),
        "provenance": told([face.source for face in kept], unknown="not stated"),
        "consent": told([face.consent for face in kept], unknown="not stated"),
        "licence": told([face.licence for face in kept], unknown="not stated"),
        "quality": {name: _quantiles(kept, name) for name in QUALITIES},
        "answers": dict(Counter(answer.annotator for answer in answers if answer.face in keys).most_common()),
        "agreement": measured_in_words(gather([face.key for face in kept], answers).counts()),
        "answers_to_removed_faces": sum(answer.face not in keys for answer in answers),
        "gaps": _gaps(kept, {answer.face for answer in answers}),
    }


def _quantiles(faces: list[FaceRow], name: str) -> list[float]:
    """Return some quantiles of one number of quality, [] where it is not known of any."""
    values = np.array([asdict(face.quality)[name] for face in faces], np.float64)
    values = values[np.isfinite(values)]
    return [round(float(value), 4) for value in np.quantile(values, QUANTILES)] if len(values) else []


def _gaps(kept: list[FaceRow], answered: set[str]) -> list[str]:
    """Return in words what is not known of the kept faces."""
    gaps = []
    for column, what in (("person", "whose face it is"), ("consent", "whether the person consented"),
                         ("licence", "the licence"), ("source", "where it comes from")):  # fmt: skip
        if silent := sum(getattr(face, column) is None for face in kept):
            gaps.append(f"of {silent:,} of {len(kept):,} faces it is not known {what}")
    if unlabelled := sum(face.key not in answered for face in kept):
        gaps.append(f"{unlabelled:,} of {len(kept):,} faces are not labelled")
    gaps.append("age, sex and origin of the people are not recorded: differences between groups cannot be measured")
    return gaps


def _page(faceset: FaceSet, found: dict[str, Any]) -> str:
    """Return the datasheet as one HTML page."""
    facts = [
        ["files", f"{found['files']:,}, {len(found['unreadable']):,} of them not read, or not to their end"],
        ["pictures looked at", f"{found['pictures']:,}"],
        ["faces found", f"{found['faces']:,}"],
        ["faces kept", f"{found['kept']:,} of {'x'.join(map(str, faceset.crop.shape))} pixels, {faceset.crop.colour}"],
        ["people named", f"{found['people']:,}"],
        *([name, found[name]] for name in ("provenance", "consent", "licence")),
        ["built with", ", ".join(f"{name}: {value}" for name, value in found["settings"].items() if name != "crop")],
    ]
    quality = [["kept faces", *(f"{100 * share:g}% are below" for share in QUANTILES)]]
    quality += [[name, *(f"{value:g}" for value in values)] for name, values in found["quality"].items()]
    return page(
        "Datasheet of a set of faces",
        table(facts, "facts", header=False),
        f'<p><a href="{CONTACT_SHEET_NAME}">kept and dropped faces at a glance</a></p>',
        "<h2>Known gaps</h2>", bullets(found["gaps"], most=LISTED, rest=AUDIT_NAME),
        "<h2>Dropped</h2><p>A face with several reasons counts under each.</p>",
        bars([(in_words(why), count) for why, count in found["dropped"].items()]),
        "<h2>Quality</h2>", table(quality),
        "<h2>Labels</h2>", _labels(faceset.folder, found),
        "<h2>Files that were not read, or not to their end</h2>",
        bullets(found["unreadable"], most=LISTED, rest=AUDIT_NAME),
    )  # fmt: skip


def _labels(folder: Path, found: dict[str, Any]) -> str:
    """Return who has labelled how much and how well they agree, as far as `mien data agree` has measured it."""
    rows = [["annotator", "faces"], *([name, f"{count:,}"] for name, count in found["answers"].items())]
    if not found["answers"]:
        return "<p>none yet</p>"
    parts = [table(rows), f"<p>Agreement: {html.escape(found['agreement'])}.</p>"]
    if (folder / agreement_page.PAGE_NAME).is_file():
        parts.append(f'<p><a href="{agreement_page.PAGE_NAME}">more of it</a>, as it was when last measured</p>')
    return "".join(parts)
