"""Splits by group: whoever is in one split, person or clip, is in no other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.data.manifest import SPLITS
from mien.errors import DataError
from mien.types import IntArray

__all__ = ["assign_splits", "crossing", "join_groups"]


def join_groups(*names: Sequence[str | None]) -> IntArray:
    """Return (N,) the group of each row: rows that have any name in common, directly or over others, are one group.

    names: columns of N, such as persons' keys and files; None: not known, joins nothing.
    """
    rows = len(names[0])
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in names:
        first: dict[str, int] = {}
        for row, name in enumerate(column):
            if name is not None:
                parent[root(row)] = root(first.setdefault(name, row))
    roots = [root(row) for row in range(rows)]
    return np.unique(np.array(roots, np.int64), return_inverse=True)[1].astype(np.int64)


def assign_splits(group: IntArray, label: IntArray, *, shares: Sequence[float], seed: int) -> IntArray:
    """Return (N,) index in SPLITS of each row: no group is cut, and labels are spread as the shares say.

    group, label: (N,).  shares: of train, val and test, which sum to 1; a split with 0 stays empty.  The largest groups
    are placed first, each where most is missing of what it holds; groups of one size come in an order drawn by `seed`.
    Raises DataError where shares are none, or there are fewer groups than splits that want some.
    """
    wanted = np.asarray(shares, np.float64)
    if wanted.shape != (len(SPLITS),) or (wanted < 0).any() or not np.isclose(wanted.sum(), 1):
        raise DataError(f"shares are {', '.join(f'{share:g}' for share in shares)}; expected three that sum to 1")
    # Numbers of groups that have no row here are no groups.
    group = np.unique(group, return_inverse=True)[1]
    groups = int(group.max()) + 1 if len(group) else 0
    filled = np.flatnonzero(wanted > 0)
    if seed < 0:
        raise DataError(f"the seed is {seed}; expected 0 or more")
    if groups < len(filled):
        raise DataError(
            f"{groups} persons or files with labels, for {len(filled)} splits that share none; label more, or give "
            "--shares with zeros"
        )
    labels = int(label.max()) + 1
    counts = np.bincount(group * labels + label, minlength=groups * labels).reshape(groups, labels).astype(np.float64)
    target = wanted[:, None] * counts.sum(axis=0)
    missing, empty = target.copy(), set(filled.tolist())
    split_of = np.zeros(groups, np.int64)
    shuffled = np.random.default_rng(seed).permutation(groups)
    order = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    for number, each in enumerate(order):
        # None is left without a group: the last ones go to those that have none yet.
        among = np.array(sorted(empty)) if len(empty) >= groups - number else filled
        # What is missing of the group's labels, and a little of what is missing at all, which decides between equals.
        need = missing[among] @ counts[each] / counts[each].sum() + missing[among].sum(axis=1) / labels
        chosen = among[int(need.argmax())]
        split_of[each] = chosen
        missing[chosen] -= counts[each]
        empty.discard(int(chosen))
    return split_of[group]


def crossing(names: Sequence[str | None], split: IntArray) -> list[str]:
    """Return the names (persons' keys, clips) that stand in more than one split, sorted; [] proves that none does."""
    where: dict[str, int] = {}
    found = set()
    for name, index in zip(names, split.tolist(), strict=True):
        if name is not None and where.setdefault(name, index) != index:
            found.add(name)
    return sorted(found)
