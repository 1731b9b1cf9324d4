"""`mien data`: datasets prepared and audited."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mien.cli.agree import agree
from mien.cli.build import build
from mien.cli.console import err, given, out, progress_bar, refuse_ignored, tell_gathered
from mien.cli.label import label
from mien.errors import InputError
from mien.files import printable
from mien.spec import COLOURS, CropSpec

if TYPE_CHECKING:
    from mien.data.faceset import FaceSet

__all__ = ["app"]

app = typer.Typer(
    help="Build, label, prepare and audit datasets.  Example: mien data prepare fer2013.csv --out data/fer2013",
    no_args_is_help=True,
)
app.command()(agree)
app.command()(build)
app.command()(label)

DEFAULT_CROP = CropSpec()
#: Options that one kind of source alone has a use for.
OF_SETS = ("rule", "least", "shares", "balance")
OF_LABELLED_FACES = ("detector", "split")
OF_PICTURES = ("ferplus", "skip_bad", "size", "margin", "offset", "colour")


@app.command()
def prepare(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="fer2013.csv, train|test/<emotion>/, faces/ with labels.csv, or a labelled set.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="The dataset's folder.")],
    ferplus: Annotated[Path | None, typer.Option(help="fer2013new.csv of FER+, joined row for row.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Drop and count bad rows; without it they are an error.")
    ] = False,
    detector: Annotated[str, typer.Option(help="For faces/ with labels.csv: what finds the face.")] = "dlib",
    split: Annotated[str, typer.Option(help="Where labels.csv names no split: train, val or test.")] = "test",
    size: Annotated[int, typer.Option(help="Side of a crop in pixels.")] = DEFAULT_CROP.size_px,
    margin: Annotated[
        float, typer.Option(help="Added on each side of a found face, as a share of it.")
    ] = DEFAULT_CROP.margin,
    offset: Annotated[
        float, typer.Option(help="How far below the found face's centre the crop's lies, as a share of it.")
    ] = DEFAULT_CROP.offset_y,
    colour: Annotated[str, typer.Option(help=" or ".join(COLOURS))] = DEFAULT_CROP.colour,
    rule: Annotated[str, typer.Option(help="For a set: majority, unanimity or votes make the label.")] = "majority",
    least: Annotated[int, typer.Option(help="For a set: answers that a face needs.", min=1)] = 1,
    shares: Annotated[str, typer.Option(help="For a set: of train, val and test.")] = "0.6,0.15,0.25",
    balance: Annotated[
        bool, typer.Option("--balance", help="For a set: changed copies make rare expressions of train as many.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of a set's splits, or of what class folders give to validation.")
    ] = 0,
) -> None:
    """Read a dataset as people have it and write manifest.parquet and crops.npy.

    Example: mien data prepare fer2013.csv --ferplus fer2013new.csv --out data/fer2013

    Pictures of class folders, and labelled ones of at most 64 pixels, are taken as faces that are cut out already; in
    larger labelled ones the face is found (--detector none: they are faces as well).  A set of `mien data build` is
    split so that no person and no file is in two splits.
    """
    from mien.data.faceset import is_faceset
    from mien.data.labelled_set import LabelRules
    from mien.data.prepare import cuts_validation, is_labelled_faces
    from mien.data.prepare import prepare as prepare_source
    from mien.data.sources import names_every_split
    from mien.faces.detect import make_detector

    labelled = is_labelled_faces(source)
    if is_faceset(source):
        refuse_ignored(context, OF_PICTURES + OF_LABELLED_FACES, f"{source} is a set, whose faces are cut already")
    elif os.path.exists(source):  # noqa: PTH110  pathlib's own raises where a name is too long
        refuse_ignored(context, OF_SETS, f"it is for a set of `mien data build`, which {source} is not")
        if not labelled:
            refuse_ignored(
                context, OF_LABELLED_FACES, f"it is for faces/ beside labels.csv, which {source} does not hold"
            )
        elif given(context, "split") and names_every_split(source):
            refuse_ignored(context, ("split",), f"{source / 'labels.csv'} names the split of each picture")
        if not cuts_validation(source):
            refuse_ignored(context, ("seed",), f"validation is not cut from what {source} has for training")
    finder = make_detector(detector) if labelled else None
    crop = CropSpec(size_px=size, margin=margin, offset_y=offset, colour=colour)
    with progress_bar("preparing", unit="faces") as advance:
        gathered = prepare_source(
            source,
            out_dir,
            ferplus=ferplus,
            crop=crop,
            detector=finder,
            split=split,
            skip_bad=skip_bad,
            seed=seed,
            labels=LabelRules(rule, least, _shares(shares), balance),
            on_progress=advance,
        )
    manifest = gathered.dataset.manifest
    tell_gathered(gathered)
    if missed := int(manifest.missed.sum()):
        err.print(f"no face was found in {missed} of {len(manifest)} pictures; they count as errors in evaluation")
    counts = ", ".join(f"{name} {len(manifest.rows_in(name)):,}" for name in ("train", "val", "test"))
    out.print(f"{len(manifest):,} faces ({counts}) in {printable(out_dir)}", markup=False, soft_wrap=True)


def _shares(text: str) -> tuple[float, float, float]:
    """Return the shares of train, val and test; InputError where the text is not three numbers."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--shares is {text!r}; expected three numbers such as 0.6,0.15,0.25") from None
    return train, val, test


@app.command()
def forget(
    folder: Annotated[Path, typer.Argument(help="A folder that `mien data build` wrote.")],
    person: Annotated[str | None, typer.Option(help="Whose files to take out, as the list named them.")] = None,
    file: Annotated[str | None, typer.Option(help="A file to take out, by its path or its name in the set.")] = None,
) -> None:
    """Take the faces of a person or a file out of a set, with their pictures: consent can be withdrawn.

    Example: mien data forget faces --person Anna

    Datasets that were prepared, folders that were exported and pages that were written elsewhere before keep them: make
    them anew.  A source that is built again brings them back.  The page of `mien data agree` is removed.
    """
    from mien.data.agreement_page import JSON_NAME, PAGE_NAME
    from mien.data.build import mark_copies
    from mien.data.contact_sheet import CONTACT_SHEET_NAME, draw_contact_sheet
    from mien.data.faceset import UNFINISHED, FaceSet, at_work
    from mien.data.forget import files_of
    from mien.data.forget import forget as forget_files
    from mien.data.set_datasheet import write_set_datasheet

    if (person is None) == (file is None):
        raise InputError("name either --person or --file")
    faceset = FaceSet(folder)
    with at_work(folder):
        if file is not None:
            names = [_name_in(faceset, file)]
        elif not (names := files_of(faceset, str(person))):
            raise InputError(f"{folder}: nothing of {person!r} in the set; people are called as in its list")
        if UNFINISHED in faceset.settings:  # a killed build has not looked for copies, which go as well
            mark_copies(faceset, ended=False)
        for page in (CONTACT_SHEET_NAME, PAGE_NAME, JSON_NAME):  # they show faces
            (faceset.folder / page).unlink(missing_ok=True)
        count = forget_files(faceset, names)
        draw_contact_sheet(faceset)
        write_set_datasheet(faceset)
    out.print(f"{count:,} faces taken out of {printable(folder)}", markup=False, soft_wrap=True)


def _name_in(faceset: FaceSet, file: str) -> str:
    """Return what a set calls a file, given that name, the file's path or, where these are of none, a name's end.

    Raises InputError where it is none, or one file by its name and another by its path.
    """
    rows = faceset.files()
    path = os.path.realpath(file)
    # A whole path, or one that begins with ./, is nobody's name: by such a one each file can be told from all others.
    found = [row for row in rows if row.name == file or os.path.realpath(row.path) == path]
    found = found or [row for row in rows if row.name.endswith(f"/{file}")]
    if len(found) == 1:
        return found[0].name
    if found:
        paths = ", ".join(printable(row.path) for row in found[:5])
        raise InputError(f"{printable(faceset.folder)}: {file!r} may be any of {paths}; name one by its whole path")
    near = difflib.get_close_matches(file, [row.name for row in rows], 3, 0.3)
    such = f"; expected such as {', '.join(near)}" if near else ""
    raise InputError(f"{printable(faceset.folder)}: nothing of {file!r} in the set{such}")


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="A folder that `mien data prepare` or `mien data build` wrote.")],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Where the datasheet goes; by default beside the data.")
    ] = None,
) -> None:
    """Report class balance, identical crops within and across splits, label conflicts and constant crops.

    Example: mien data audit data/fer2013

    The same goes to datasheet.html (for people) and audit.json (for programs).
    """
    from mien.data import manifest as manifests
    from mien.data.audit import audit as audit_dataset
    from mien.data.datasheet import write_datasheet
    from mien.data.faceset import FaceSet, is_faceset
    from mien.data.set_datasheet import write_set_datasheet

    if is_faceset(folder):
        err.print(f"datasheet: {printable(write_set_datasheet(FaceSet(folder), out_dir))}", markup=False)
        return
    dataset = manifests.read(folder)
    found = audit_dataset(dataset)
    page = write_datasheet(dataset, found, out_dir or folder)
    balance = Table("split", *found.labels, "all", title="class balance")
    for split, counts in found.balance.items():
        balance.add_row(split, *(f"{count:,}" for count in counts), f"{sum(counts):,}")
    out.print(balance)
    twins = Table("crops of", *(f"also in {name}" for name in found.twins), "repeated within", title="identical crops")
    for split, across in found.twins.items():
        twins.add_row(split, *(f"{across.get(other, 0):,}" if other != split else "" for other in found.twins),
                      f"{found.identical_within[split]:,}")  # fmt: skip
    out.print(twins)
    out.print(f"groups of identical crops: {found.groups:,}; with different labels: {len(found.conflicts):,}")
    sources = [*found.constant[:10], *(["..."] if len(found.constant) > 10 else [])]
    out.print(f"constant crops: {len(found.constant):,}", *sources, markup=False, soft_wrap=True)
    out.print(f"rows without a face: {found.missed:,}")
    out.print(f"known gaps: {len(found.gaps):,}, in the datasheet")
    err.print(f"datasheet: {printable(page)}", markup=False)
