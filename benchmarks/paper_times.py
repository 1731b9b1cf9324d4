"""Milliseconds a face of all that stands in the page's Table II, measured again: side by side, on a quiet machine.

    python benchmarks/paper_times.py --data data/fer2013

How long a network takes hangs on its layers and not on its weights, and what an SVM takes on its sizes, so that each is
fitted anew to a few faces.  The rows of runs.csv get the new times; `mien paper` shows them.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from mien.data.manifest import Dataset, read
from mien.paper.ledger import Ledger
from mien.paper.runs import ms_a_face, ms_of, traditional_identity
from mien.paper.studies import Run, identity, read_studies
from mien.paper.traditional import LANDMARKS, features_of, fit_classifier, shares_of
from mien.train.config import with_values
from mien.train.export import export
from mien.train.fit import fit


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data/fer2013", help="the prepared dataset that the page was made of")
    parser.add_argument("--results", default="results")
    options = parser.parse_args()
    dataset, ledger = read(options.data), Ledger(options.results)
    studies = read_studies(None, data=options.data)
    timed = {identity(runs[0].recipe): partial(of_network, runs[0]) for runs in studies.of("networks").values()}
    timed |= {traditional_identity(way): partial(of_way, way, dataset) for way in studies.ways}
    for sha256, measure in timed.items():
        row = ledger.find(sha256, dataset.manifest.sha256)
        if row is not None:
            ms = f"{measure():.3g}"
            print(f"{row.variant:45} {row.ms_a_face:>7} -> {ms}")
            ledger.add(replace(row, ms_a_face=ms))


def of_network(run: Run) -> float:
    """Return the milliseconds of a network of the run's kind."""
    few = {"data.limit": 2 * run.recipe.optimiser.batch_size, "optimiser.epochs": 1, "optimiser.warmup_epochs": 0}
    with tempfile.TemporaryDirectory() as scratch:
        fit(with_values(run.recipe, few, name="timed"), Path(scratch) / "run")
        export(Path(scratch) / "run" / "best.pt", Path(scratch) / "model.onnx")
        return ms_a_face(Path(scratch) / "model.onnx")


def of_way(way: str, dataset: Dataset) -> float:
    """Return the milliseconds of features and SVM."""
    rows = dataset.manifest.rows_in("train")[: 2 * LANDMARKS]
    features, labels = features_of(way, dataset.crops[rows]), dataset.manifest.label[rows]
    fitted = fit_classifier(features, labels, features, labels, seed=0)
    return ms_of(partial(shares_of, way, fitted), dataset.crops.shape[1:])


if __name__ == "__main__":
    main()
