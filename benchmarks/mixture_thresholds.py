"""How the thresholds of mien.mixture were chosen: on validation, beside what FER+'s taggers said.

    python benchmarks/mixture_thresholds.py --data data/fer2013

All on PublicTest without the pictures that stand in Training.  Printed are: what accuracy (against the taggers'
majority) gains when the fifth of the faces is left out that some measure of sureness ranks last; of the lead of the
first expression over the second, the same with the exception of faces whose two largest probabilities together reach
some sum (BOTH), and the lead (LEAD) at which a fifth is left out; and, of the faces that remain, how often two
expressions are said where two taggers or more saw a second one, by the smallest share (PAIR_SHARE) that is called one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mien.data import manifest
from mien.data.audit import has_twin
from mien.evaluate.ensemble import Ensemble
from mien.evaluate.mixtures import LEFT_OUT, Panel, take_panel
from mien.evaluate.score import predict_split
from mien.evaluate.truth import OUTLIER
from mien.types import BoolArray, FloatArray

AIM = 0.065  # six points and half a one, the standard error of the gain on as many faces
SUMS = (0.9, 0.925, 0.95, 0.975)
SHARES = (0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25)


def main() -> None:
    """Choose and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="mien")
    parser.add_argument("--data", type=Path, default=Path("data/fer2013"))
    options = parser.parse_args()
    panel = read_panel(options.model, options.data)
    held = panel.majority >= 0
    right = panel.probabilities[held].argmax(axis=1) == panel.majority[held]
    print(f"{held.sum():,} faces with a majority, of them right: {100 * right.mean():.2f}%")
    compare_measures(panel.probabilities[held], right)
    lead, both = choose_unsure(panel.probabilities[held], right)
    share = choose_pair(panel, lead, both)
    print(f"chosen: LEAD {lead:.2f}, BOTH {both:.2f}, PAIR_SHARE {share:.2f}")


def read_panel(model: str, data: Path) -> Panel:
    """Return what a model and the taggers say of validation's faces that do not stand in train."""
    ensemble, dataset = Ensemble.load([model]), manifest.read(data)
    rows = dataset.manifest.rows_in("val")
    table = predict_split(ensemble.predict, dataset, "val", labels=ensemble.labels, crop=ensemble.crop)
    return take_panel(table, dataset.manifest, rows, ~has_twin(dataset, rows, "train"))


def largest_two(probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the largest and the second probability of each row."""
    ranked = np.sort(probabilities, axis=1)
    return ranked[:, -1], ranked[:, -2]


def compare_measures(probabilities: FloatArray, right: BoolArray) -> None:
    """Print what leaving out the fifth that each measure ranks last gains."""
    first, second = largest_two(probabilities)
    measures = {
        "largest probability": first,
        "lead over the second": first - second,
        "lead over half the second": first - second / 2,
        "share of the first in both": first / (first + second),
        "sum of both": first + second,
        "entropy": (probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1),
        "sum of squares": (probabilities**2).sum(axis=1),
    }
    for name, sure in measures.items():
        kept = sure >= np.quantile(sure, LEFT_OUT)
        print(f"{name:28} gains {100 * (right[kept].mean() - right.mean()):.2f} points")


def choose_unsure(probabilities: FloatArray, right: BoolArray) -> tuple[float, float]:
    """Return the smallest sum that lets accuracy gain what it should, and the lead that belongs to it."""
    first, second = largest_two(probabilities)
    chosen = None
    for both in SUMS:
        lead = lead_for(first, second, both)
        left_out = (first - second < lead) & (first + second < both)
        spared = (first - second < lead) & ~left_out
        gain = right[~left_out].mean() - right.mean()
        chosen = chosen or ((lead, both) if gain >= AIM else None)
        print(f"sum {both}: lead {lead:.3f}, gains {100 * gain:.2f} points, spares {100 * spared.mean():.1f}% of faces")
    if chosen is None:
        raise SystemExit("no sum reaches the aim")
    return round(chosen[0], 2), chosen[1]


def lead_for(first: FloatArray, second: FloatArray, both: float) -> float:
    """Return the lead below which a fifth of all faces lie, of those whose two largest do not reach the sum."""
    leads = np.sort((first - second)[first + second < both])
    return float(leads[round(LEFT_OUT * len(first))])


def choose_pair(panel: Panel, lead: float, both: float) -> float:
    """Return the share with which two are said as often as the taggers split, of the faces that are not unsure."""
    first, second = largest_two(panel.probabilities)
    sure = ((first - second >= lead) | (first + second >= both)) & (panel.votes.sum(axis=1) > 0)
    split = np.sort(panel.votes[sure], axis=1)[:, -2] > OUTLIER
    shares = (second / (first + second))[sure]
    as_often = float(np.quantile(shares, 1 - split.mean()))
    print(f"{sure.sum():,} faces are not unsure; of them the taggers split on {100 * split.mean():.1f}%")
    for share in sorted((*SHARES, as_often)):
        said = shares >= share
        print(
            f"share {share:.3f}: said of {100 * said.mean():.1f}%, of {100 * said[split].mean():.1f}% where they split "
            f"and {100 * said[~split].mean():.1f}% where not"
        )
    return round(as_often, 2)


if __name__ == "__main__":
    main()
