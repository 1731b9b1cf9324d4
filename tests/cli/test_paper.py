"""`mien paper`: a page, or one line that says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.paper import build

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RunMien = Callable[..., tuple[int, str, str]]
MakeDataset = Callable[..., Path]


def test_a_page_is_written_from_what_there_is(
    run_mien: RunMien, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset()
    monkeypatch.chdir(tmp_path)
    code, out, err = run_mien("paper", "--data", data, "--out", "page", "--no-train")
    assert (code, err) == (0, "examples: no such folder: no faces are shown; --pictures names another\n")
    assert out.startswith("page/index.html, ")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "no picture with a face to show; --pictures names a folder of some" in page  # examples/ is not here
    assert "A quick look." not in page
    assert sorted(path.name for path in (tmp_path / "results").glob("[!.]*")) == ["results.csv"]
    code, _, _ = run_mien("paper", "--data", data, "--out", "quick", "--no-train", "--quick")
    assert code == 0
    assert "A quick look." in (tmp_path / "quick" / "index.html").read_text()
    assert (tmp_path / "quick" / "results" / "results.csv").is_file()


def test_without_its_data_the_rest_of_the_page_is_written(
    run_mien: RunMien, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run_mien("paper", "--data", "absent", "--natural", "away", "--pictures", EXAMPLES, "--out", "page")
    assert code == 1
    assert out.startswith("page/index.html, ")
    natural = "away: no pictures with labels; --natural wants a folder with faces/ and labels.csv"
    data, *others = err.splitlines()
    assert data.startswith("absent")
    assert others == [natural]
    page = (tmp_path / "page" / "index.html").read_text()
    assert data in page
    assert page.count(natural) == 2  # Table III, and what cropping is worth
    for held in ("8,779,047", "Our Figure 7: astronaut.jpg", "0.7292", "337 of 396 right", "Named in the abstract"):
        assert held in page


def test_ctrl_c_writes_the_page_with_gaps(
    run_mien: RunMien, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "train_traditional", stopped)
    monkeypatch.chdir(tmp_path)
    code, out, err = run_mien("paper", "--data", make_dataset(), "--pictures", EXAMPLES, "--out", "page")
    assert code == 130
    assert "stopped; the same command goes on with what is missing\n" in err
    assert out.startswith("page/index.html, ")
    assert "Not here yet" in (tmp_path / "page" / "index.html").read_text()


def test_what_was_left_out_of_natural_pictures_is_told(
    run_mien: RunMien, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "natural/faces").mkdir(parents=True)
    shutil.copy(EXAMPLES / "astronaut.jpg", tmp_path / "natural/faces")
    (tmp_path / "natural/labels.csv").write_text("file,emotion\nastronaut.jpg,happy\naway.jpg,sad\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = run_mien(
        "paper", "--data", make_dataset(), "--natural", "natural", "--pictures", EXAMPLES, "--out", "page", "--no-train"
    )
    assert code == 1
    assert err.startswith("natural: 1 of 2 left out\n  labels.csv:3: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "DATA", "--studies", "absent.toml"], "absent.toml: cannot be read"),
        (["--data", "DATA", "--results", "FILE"], "no folder"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line_and_nothing_is_made(
    run_mien: RunMien, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], told: str,
) -> None:  # fmt: skip
    data = make_dataset()
    (tmp_path / "FILE").write_text("")
    monkeypatch.chdir(tmp_path)
    code, out, err = run_mien("paper", "--out", "page", *(str(data) if one == "DATA" else one for one in arguments))
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "page").exists()
