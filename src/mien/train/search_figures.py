"""A search as pictures, drawn by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from optuna.study import Study
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from mien.files import atomic_path

__all__ = ["draw_search"]

LEAST_FOR_IMPORTANCES = 10  # complete trials: of fewer, the best tenth that PED-ANOVA looks at is not even one


def draw_search(study: Study, folder: Path) -> None:
    """Draw history.png, parallel.png and, of trials enough, importances.png into a folder.

    Importances are those of Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance".
    """
    wanted: dict[str, Callable[..., Any]] = {
        "history": plots.plot_optimization_history,
        "parallel": plots.plot_parallel_coordinate,
    }
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) >= LEAST_FOR_IMPORTANCES and len({trial.value for trial in complete}) > 1:
        wanted["importances"] = plots.plot_param_importances
    with _quietly_without_a_screen():
        for name, plot in wanted.items():
            figure = plot(study, target_name="validation accuracy").figure
            figure.set_size_inches(max(9, 2.5 * len(complete[0].params)) if name == "parallel" and complete else 9, 4.5)
            with atomic_path(folder / f"{name}.png") as temporary:
                figure.savefig(temporary, dpi=120, bbox_inches="tight")


@contextmanager
def _quietly_without_a_screen() -> Iterator[None]:
    """Let Optuna draw, with pyplot, where there is no screen, and keep to itself that it may draw otherwise one day.

    Its style, which it sets for all figures, is taken off again.
    """
    backend = mpl.get_backend()
    pyplot.switch_backend("agg")
    try:
        with warnings.catch_warnings(), mpl.rc_context():
            warnings.simplefilter("ignore")
            yield
    finally:
        pyplot.close("all")
        pyplot.switch_backend(backend)
