"""The whole page: what is missing is trained, then every section is made; a section that cannot be is a gap."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mien.data.manifest import SPLITS, Dataset, Manifest, read
from mien.data.prepare import is_labelled_faces
from mien.errors import DataError, MienError, RecipeError
from mien.evaluate.measure import commit, hardware
from mien.evaluate.score import Progress
from mien.files import check_folder, printable
from mien.paper.ablation import parts, variation
from mien.paper.comparison import networks
from mien.paper.context import DATA, NATURAL, STUDIES, Context
from mien.paper.later import later
from mien.paper.ledger import Ledger
from mien.paper.natural import natural
from mien.paper.network import architecture, augmentation, feature_section, singles
from mien.paper.page import Gap, Section, write_page
from mien.paper.runs import locked, traditional_identity, train_run, train_traditional
from mien.paper.sample import write_sample
from mien.paper.searches import run_search, searches
from mien.paper.studies import Studies, read_studies
from mien.spec import CropSpec
from mien.train.search_study import STRATEGIES

__all__ = ["Listener", "open_context", "train_missing", "write_paper"]

SECTIONS: Sequence[tuple[str, Callable[[Context], Section]]] = (
    ("The network (Table I, Figure 1)", architecture),
    ("What the convolutions see (Figure 2)", feature_section),
    ("Augmentation (Figure 3)", augmentation),
    ("Compared with other networks (Table II, Figures 4 to 6)", networks),
    ("Single pictures (Figure 7)", singles),
    ("Natural faces (Table III)", natural),
    ("Each part by itself", parts),
    ("Variation and rare expressions", variation),
    ("Hyper-parameter search", searches),
    ("What the paper leaves for later", later),
)


@dataclass(slots=True)
class Listener:
    """Who wants to hear what, while the page is made."""

    on_progress: Callable[[str, int, int], None] | None = None  # what is done, how much of it, of how much
    on_failure: Callable[[str, str], None] | None = None  # what could not be done, and why

    def of(self, name: str) -> Progress:
        """Return what is to be called with how much of a thing is done, of how much."""

        def tell(done: int, total: int) -> None:
            if self.on_progress:
                self.on_progress(name, done, total)

        return tell


def open_context(
    data: str | Path, natural_folder: str | Path | None, pictures: Sequence[Path], *, results: str | Path,
    studies: str | Path | None = None, sample: str | Path | None = None,
) -> Context:  # fmt: skip
    """Return what the page is made from.

    sample: where a sample of the data goes, in the folder of runs, for a quick look at the page; left out: the page is
    made of all of it.
    Where the data or the natural pictures cannot be read, or a file of studies is none, `failed` says why, and what is
    made of them will be gaps.  Raises DataError where results cannot be read, RecipeError where there is no file of
    studies or a quick look cannot be made by it, OutputError where the sample cannot be written.
    """
    ledger, failed = Ledger(results), {}
    try:
        dataset = read(data)
    except DataError as error:
        failed[DATA] = str(error)
        dataset = _no_dataset()
    if natural_folder is not None and not is_labelled_faces(Path(natural_folder)):
        failed[NATURAL] = (
            f"{natural_folder}: no pictures with labels; --natural wants a folder with faces/ and labels.csv"
        )
    if sample is not None and DATA not in failed:
        with locked(Path(sample).parent):  # nobody trains on it meanwhile
            data = write_sample(dataset, Path(sample), faces=read_studies(studies, data=data).faces)
        dataset = read(data)
    return Context(
        studies=_studies(studies, data, failed, quick=sample is not None),
        data=Path(data),
        dataset=dataset,
        natural=None if natural_folder is None else Path(natural_folder),
        pictures=list(pictures),
        ledger=ledger,
        is_sample=sample is not None,
        failed=failed,
    )


def _studies(path: str | Path | None, data: str | Path, failed: dict[str, str], *, quick: bool) -> Studies:
    """Return the studies that can be made; of what a file names otherwise, `failed` gets to know why it cannot."""
    try:
        studies = read_studies(path, data=data, quick=quick)
    except RecipeError as error:
        if quick or path is None or not Path(path).is_file():
            raise
        failed[STUDIES] = str(error)
        return Studies()
    for study, variants in studies.unusable.items():
        failed |= {f"{study} {variant}": f"{study} {variant}: cannot be: {why}" for variant, why in variants.items()}
    return studies


def _no_dataset() -> Dataset:
    """Return a dataset of nothing."""
    none, crop = np.zeros(0, np.int64), CropSpec()
    manifest = Manifest(
        crop=crop, source=[], person=[], label=none, votes=None, split=none, licence=[], missed=none.astype(np.bool_)
    )
    return Dataset(manifest, np.zeros((0, *crop.shape), np.uint8))


def train_missing(
    context: Context, folder: str | Path, *, device: str = "auto", listener: Listener | None = None
) -> None:
    """Train, in a folder of runs, what the studies name and the ledger has not.

    What cannot be trained is told of, noted in the context and left out.  Stopped at any moment, the next call goes on.
    Raises InputError where another process trains in the folder.
    """
    folder, listener = Path(folder), listener or Listener()
    if DATA in context.failed:
        return
    with locked(folder):
        for name, is_there, train in _things(context, folder, device, listener):
            try:
                if not is_there():
                    train()
            # RuntimeError: memory, as torch tells it; ValueError: what scikit-learn cannot be fitted to.
            except (MienError, RuntimeError, MemoryError, ValueError) as error:
                context.failed[name] = str(error).partition("\n")[0]
                if listener.on_failure:
                    listener.on_failure(name, context.failed[name])


def _things(
    context: Context, folder: Path, device: str, listener: Listener
) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """Yield each thing that the page wants: its name, what tells whether it is there, and what trains it."""
    ledger, sha256 = context.ledger, context.dataset.manifest.sha256
    train: Callable[[], object]
    for way in context.studies.ways:
        train = partial(train_traditional, way, context.data, ledger, on_progress=listener.of(way))
        yield way, partial(context.find, traditional_identity(way)), train
    for run in context.studies.runs:
        name = run.recipe.name
        train = partial(train_run, run, ledger, folder, device=device, on_progress=listener.of(name))
        yield name, partial(context.row, run), train
    if plan := context.studies.search:
        for strategy in STRATEGIES:
            name = f"search {strategy}"
            train = partial(
                run_search, plan, strategy, ledger, folder, crop=context.dataset.manifest.crop, manifest_sha256=sha256,
                device=device, on_progress=listener.of(name),
            )  # fmt: skip
            yield name, partial(context.trials, plan, strategy), train


def write_paper(context: Context, out: str | Path, *, listener: Listener | None = None) -> int:
    """Write the page, index.html and figures/, into a folder, and return how many gaps it has.

    A section that cannot be made is a gap that says why.  OutputError where the folder cannot be written.
    """
    out, listener = Path(out), listener or Listener()
    check_folder(out)
    sections = []
    for number, (title, make) in enumerate(SECTIONS, start=1):
        context.on_progress = listener.of(title)
        context.on_progress(number, len(SECTIONS))
        try:
            sections.append(make(context))
        except MienError as error:
            sections.append(Section(title, [Gap(str(error))]))
    manifest = context.dataset.manifest
    made = datetime.datetime.now(datetime.UTC).date().isoformat()
    splits = ", ".join(f"{split} {len(manifest.rows_in(split)):,}" for split in SPLITS)
    read_in = f"{printable(context.data.resolve().name)}, {len(manifest.label):,} faces ({splits})"
    facts = [
        f"Data: {context.failed.get(DATA) or read_in}.",
        "Rows of tables with a coloured ground, and columns called paper, are the paper's as printed, but for notes "
        "and intervals; all else was measured by mien where no source is named.",
        f"Every score of ours stands in {context.ledger.folder.name}/: results.csv the scores, runs.csv the networks "
        "that were trained, searches.csv the trials.",
        f"Made on {made}, {hardware()}, commit {commit() or 'unknown'}.",
    ]
    if not (context.is_fer2013 or context.is_sample or DATA in context.failed):
        facts.insert(
            1,
            "The paper's numbers are of FER2013 in its own splits, which these data are not: a difference between its "
            "numbers and ours says nothing of either.",
        )
    write_page(sections, out, title="The paper, measured again", facts=facts, quick=context.is_sample)
    return sum(isinstance(block, Gap) for section in sections for block in section.blocks)
