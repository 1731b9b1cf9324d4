"""What the tests of the page share: studies that take seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mien.paper.build import open_context
from mien.paper.context import Context

STUDIES = """
[protocol]
name = "paper"
[protocol.model]
name = "cross-lenet"
batch_norm = true
[protocol.optimiser]
learning_rate = 0.05
batch_size = 16
epochs = 2
[protocol.stop]
patience = 0
[quick]
faces = 21
settings = { optimiser.epochs = 1 }
[networks]
[networks.variants]
"the suggested network" = {}
"Lu et al. (reconstructed)" = { model.name = "lu" }
[traditional]
ways = ["DCT + SVM"]
[parts]
seeds = [0, 1]
[parts.variants]
"as it is" = {}
"dropout: none" = { model.dropout = 0 }
[balance]
[balance.variants]
"plain" = {}
"weighted loss" = { data.balance = "loss" }
[folds]
settings = { data.folds = 2 }
[folds.variants]
"part 1" = { data.fold = 0 }
"part 2" = { data.fold = 1 }
[search]
trials = 2
[search.space]
"model.dropout" = [0.2, 0.4]
"""

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Return the file of the short studies."""
    path = tmp_path / "studies.toml"
    path.write_text(STUDIES)
    return path


@pytest.fixture
def context(tmp_path: Path, make_dataset: Callable[..., Path], studies: Path) -> Context:
    """Return what the page is made from, of a small dataset, without natural faces."""
    pictures = [ROOT / "examples" / "astronaut.jpg"]
    return open_context(make_dataset(), None, pictures, results=tmp_path / "results", studies=studies)
