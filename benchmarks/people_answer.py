"""How the two heads of a network are best joined for reading people: a grid over [people] of its recipe, on validation.

    python benchmarks/people_answer.py .runs/mien/best.pt --data data/fer2013

Each line is a share of FER2013's head and a tau of logit adjustment, with accuracy and macro recall (the mean of the
seven expressions) on val against the majority of FER+'s taggers, contempt left out: on the crops as they are and as
other cameras would have taken them (`mien evaluate --change cameras`).  Crops that stand in train are left out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mien.data import manifest
from mien.data.audit import has_twin
from mien.evaluate.cameras import as_cameras
from mien.evaluate.truth import truth
from mien.labels import FER2013
from mien.metrics import confusion_matrix, recalls
from mien.preprocess import enhance
from mien.train import checkpoint
from mien.train.answers import PEOPLE, make_answers
from mien.train.config import PeopleConfig
from mien.train.dataset import CropTable
from mien.train.devices import find_device
from mien.train.validate import mean_probabilities, predict_views
from mien.types import FloatArray, IntArray

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
TAUS = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Measure and print the grid, the best mean of accuracy and macro recall over both kinds of crop marked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data/fer2013"))
    options = parser.parse_args()
    predictor, recipe, specs = checkpoint.load_predictor(options.checkpoint)
    if PEOPLE not in specs:
        parser.error(f"{options.checkpoint}: its network has one head; expected one of data.labels = 'both'")
    prior = torch.tensor(checkpoint.load(options.checkpoint)["prior"])
    temperatures = {name: spec.temperature for name, spec in specs.items() if name != PEOPLE}
    dataset = manifest.read(options.data)
    rows, actual = truth(dataset.manifest, dataset.manifest.rows_in("val"), "majority")
    kept = (actual < len(FER2013)) & ~dataset.manifest.missed[rows] & ~has_twin(dataset, rows, "train")
    rows, actual = rows[kept], actual[kept]
    crops = np.array(dataset.crops[rows])
    device, where = find_device(), np.arange(len(rows))
    seen = []
    for pictures in (crops, as_cameras(crops)):
        table = CropTable(
            [enhance(pictures, predictor.crop)], np.zeros_like(where), where, np.zeros((len(rows), 0), np.float32)
        )
        seen.append(predict_views(predictor.to(device), table, device, mirror=recipe.mirror))
    print(f"{len(rows):,} crops; as they are: accuracy, macro recall; as cameras: accuracy, macro recall")
    lines = []
    for share in SHARES:
        for tau in TAUS:
            joined = replace(recipe, people=PeopleConfig(share, tau))
            answer = make_answers(joined, prior, temperatures)[PEOPLE]
            scores = [score for views in seen for score in measure(mean_probabilities(views, answer), actual)]
            lines.append((share, tau, scores))
    best = max(lines, key=lambda line: sum(line[2]))
    for share, tau, scores in lines:
        mark = "  <- best mean of the four" if (share, tau) == best[:2] else ""
        print(f"share {share:.1f}, tau {tau:.2f}: " + "  ".join(f"{100 * score:6.2f}%" for score in scores) + mark)


def measure(probabilities: FloatArray, actual: IntArray) -> tuple[float, float]:
    """Return accuracy and macro recall."""
    predicted = probabilities.argmax(axis=1)
    recall = recalls(confusion_matrix(actual, predicted, labels=len(FER2013)))
    return float((predicted == actual).mean()), float(np.nanmean(recall))


if __name__ == "__main__":
    main()
