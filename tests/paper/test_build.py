"""The whole page, from nothing: trained, written down, shown; and what is missing shown as missing."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.manifest import read, write
from mien.errors import InputError, RecipeError
from mien.evaluate.report import read_results
from mien.labels import FERPLUS
from mien.paper import build, runs
from mien.paper.build import Listener, open_context, train_missing, write_paper
from mien.paper.context import Context
from mien.paper.runs import locked, train_run
from mien.paper.studies import identity, read_studies
from mien.train.search_study import STRATEGIES


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reopened(context: Context, studies: Path) -> Context:
    return open_context(context.data, None, context.pictures, results=context.ledger.folder, studies=studies)


def test_everything_is_trained_once_and_every_number_of_the_page_is_in_the_tables(
    context: Context, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    listener = Listener(on_progress=lambda name, done, total: told.setdefault(name, []).append((done, total)))
    train_missing(context, tmp_path / "runs", device="cpu", listener=listener)
    assert context.failed == {}
    assert not list((tmp_path / "runs").rglob("*.pt"))

    results = context.ledger.folder
    kept = table(results / "runs.csv")
    # Four parts are two seeds of two variants; "plain" is "as it is" with seed 0, and is not trained again.
    assert [row["study"] for row in kept] == [
        "traditional",
        *["networks"] * 2,
        *["parts"] * 3,
        "balance",
        *["folds"] * 2,
    ]
    assert {row["strategy"] for row in table(results / "searches.csv")} == set(STRATEGIES)
    measured = {(row["model_sha256"], row["split"]) for row in read_results(results / "results.csv")}
    for row in kept:
        assert (row["model_sha256"], "val") in measured
        assert ((row["model_sha256"], "test") in measured) == (row["study"] in ("networks", "traditional"))
    of_folds = [row for row in read_results(results / "results.csv") if "part" in row["data"]]
    assert sum(int(row["n"]) for row in of_folds if row["subset"] == "all") == 98  # each crop of train and val once
    assert told["networks the suggested network seed=0"][-1] == (8, 8)  # two epochs of four batches

    gaps = write_paper(context, tmp_path / "page", listener=listener)
    page = (tmp_path / "page" / "index.html").read_text()
    assert gaps == 2  # natural faces were not named
    assert page.count("--natural names a folder") == 2
    for row in read_results(results / "results.csv"):
        if row["model"] == "networks the suggested network seed=0" and row["subset"] == "all":
            assert f"{100 * float(row['accuracy']):.2f}%" in page

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    for name in ("train_run", "train_traditional", "run_search"):
        monkeypatch.setattr(build, name, refuse)
    train_missing(reopened(context, studies), tmp_path / "elsewhere")

    assert re.search(
        r"On pictures that are new, the suggested network differs from Lu et al\. \(reconstructed\) by "
        r"[+-]\d+\.\d points \(p ", page,
    )  # fmt: skip
    assert "Settings that differ from those of the suggested network, by their names in a recipe: Lu et al." in page
    assert "model.name lu" in page
    assert "one kind of machine" not in page
    (machine,) = {row["hardware"] for row in kept}
    written = (results / "runs.csv").read_text()
    for study in ("parts", "balance"):
        line = next(line for line in written.splitlines() if line.startswith(study))
        (results / "runs.csv").write_text(written.replace(line, line.replace(f'"{machine}"', "a GPU")))
        write_paper(reopened(context, studies), tmp_path / study)
        page_of_two = (tmp_path / study / "index.html").read_text()
        assert page_of_two.count(f"Not all were trained on one kind of machine ({machine}; a GPU)") == 1
    (results / "runs.csv").write_text(written)
    lost = results / "results.csv"
    kept_rows = [line for line in lost.read_text().splitlines() if not line.startswith("balance weighted loss")]
    lost.write_text("\n".join(kept_rows) + "\n")
    (run,) = context.studies.of("balance")["weighted loss"]
    assert reopened(context, studies).row(run) is None, "what has no score is missing"


def test_a_page_without_any_run_shows_what_is_missing(context: Context, tmp_path: Path) -> None:
    assert write_paper(context, tmp_path / "page") >= 6
    page = (tmp_path / "page" / "index.html").read_text()
    assert "8,779,047" in page
    assert "the suggested network, Lu et al. (reconstructed), DCT + SVM." in page
    assert "4 of 4 runs were not trained" in page
    assert "the search by grid, random, hyperband, bayesian." in page
    assert "not in these studies; without it: not in these studies" in page, "attention"
    assert "not in these studies; without it: not trained yet" in page, "discriminative losses"
    assert len(re.findall("<h2", page)) == 10


def test_a_run_that_fails_is_told_of_and_the_others_are_done(context: Context, studies: Path, tmp_path: Path) -> None:
    studies.write_text(studies.read_text().replace('model.name = "lu" }', 'model.name = "lu", model.widths = [8] }'))
    found = read_studies(studies, data=context.data)
    context.studies = replace(found, runs=found.runs[1:3], ways=(), search=None)
    told = {}
    listener = Listener(on_failure=lambda name, why: told.update({name: why}))
    train_missing(context, tmp_path / "runs", device="cpu", listener=listener)
    assert told == {"networks Lu et al. (reconstructed) seed=0": "model.widths: lu has no such setting"}
    write_paper(context, tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Lu et al. (reconstructed) (model.widths: lu has no such setting)." in page
    assert [row["variant"] for row in table(context.ledger.folder / "runs.csv")] == ["as it is"]


def test_a_variant_that_cannot_be_and_a_file_that_is_none_are_gaps(
    make_dataset: Callable[..., Path], studies: Path, tmp_path: Path
) -> None:
    bad = studies.read_text().replace("model.dropout = 0 }", "model.dropout = 1.5 }")
    for content, told in ((bad, "out of range: model.dropout"), ("[augment]", "unknown table [augment]")):
        studies.write_text(content)
        context = open_context(make_dataset(), None, [], results=tmp_path / "results", studies=studies)
        assert any(told in why for why in context.failed.values())
        write_paper(context, tmp_path / "page")
        page = (tmp_path / "page" / "index.html").read_text()
        assert told in page
        assert "8,779,047" in page
    assert "no search is named" not in page
    assert "not in these studies" not in page
    train_missing(context, tmp_path / "runs", device="cpu")
    with pytest.raises(RecipeError, match="unknown table"):
        open_context(context.data, None, [], results=tmp_path / "results", studies=studies, sample=tmp_path / "sample")


def test_a_damaged_score_costs_its_run_alone(context: Context, studies: Path, tmp_path: Path) -> None:
    context.studies = replace(context.studies, runs=context.studies.runs[2:4], ways=(), search=None)
    train_missing(context, tmp_path / "runs", device="cpu")
    rows = read_results(context.ledger.results)
    rows[0]["accuracy"] = "half"
    with context.ledger.results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    left = reopened(context, studies)
    left.studies = context.studies
    told: dict[str, str] = {}
    listener = Listener(on_failure=lambda name, why: told.update({name: why}))
    train_missing(left, tmp_path / "runs", device="cpu", listener=listener)
    assert told == {context.studies.runs[0].recipe.name: told[rows[0]["model"]]}
    assert "accuracy of" in told[rows[0]["model"]]
    assert write_paper(left, tmp_path / "page")


def test_what_cannot_be_scored_is_not_trained(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read(context.data)
    dataset.manifest.label[dataset.manifest.rows_in("test")[0]] = FERPLUS.index("contempt")
    write(dataset.manifest, dataset.crops, context.data)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(runs, "fit", never)
    monkeypatch.setattr(runs, "features_of", never)
    context.studies = replace(context.studies, runs=context.studies.runs[:1], search=None)
    train_missing(context, tmp_path / "runs", device="cpu")
    assert len(context.failed) == 2
    assert all("does not know contempt, which split test holds" in why for why in context.failed.values())


def test_names_that_are_no_utf_8_are_escaped(context: Context, tmp_path: Path, portrait: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    shutil.copy(portrait, odd)
    context.pictures = [Path(odd)]
    write_paper(context, tmp_path / "page")
    assert r"Our Figure 7: caf\xe9.jpg" in (tmp_path / "page" / "index.html").read_text()


def test_a_teacher_that_is_not_there_leaves_a_gap(
    make_dataset: Callable[..., Path], studies: Path, tmp_path: Path
) -> None:
    taught = '"Lu et al. (reconstructed)" = { model.name = "lu", teacher.models = ["gone.onnx"] }'
    text = studies.read_text().replace('"Lu et al. (reconstructed)" = { model.name = "lu" }', taught)
    studies.write_text(text.replace("[search]", '[search]\nsettings = { teacher.models = ["gone.onnx"] }'))
    context = open_context(make_dataset(), None, [], results=tmp_path / "results", studies=studies)
    found = context.studies
    context.studies = replace(found, runs=tuple(run for run in found.runs if run.variant.startswith("Lu")), ways=())
    told = {}
    listener = Listener(on_failure=lambda name, why: told.update({name: why}))
    train_missing(context, tmp_path / "runs", device="cpu", listener=listener)
    assert told.keys() == {"networks Lu et al. (reconstructed) seed=0", *(f"search {way}" for way in STRATEGIES)}
    assert all("gone.onnx" in why for why in told.values())
    context.studies = found
    write_paper(context, tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert re.search(r"Lu et al\. \(reconstructed\) \(recipe .*gone\.onnx", page)
    assert "How ours are trained: SGD" in page
    assert re.search(r"the search by grid \([^)]*gone\.onnx", page)


def test_a_part_that_was_trained_is_no_network_of_table_2(context: Context, tmp_path: Path) -> None:
    (network,), (part, _) = (context.studies.of(study)[variant] for study, variant in
                             (("networks", "the suggested network"), ("parts", "as it is")))  # fmt: skip
    part = replace(part, recipe=replace(network.recipe, name="parts as it is seed=0"))
    train_run(part, context.ledger, tmp_path, device="cpu")
    assert context.row(part) is not None
    assert context.row(network) is None, "it has no score on test"
    train_run(network, context.ledger, tmp_path, device="cpu")
    row = context.row(network)
    assert row is not None
    assert context.row(part) == row


def test_faces_that_were_all_seen_before_are_no_unseen_ones(
    make_dataset: Callable[..., Path], studies: Path, tmp_path: Path
) -> None:
    whole = read(make_dataset(train=70, val=28, test=28))
    crops = np.concatenate([whole.crops[:98], whole.crops[70:98]])  # test is val once more
    write(whole.manifest, crops, tmp_path / "twins")
    context = open_context(tmp_path / "twins", None, [], results=tmp_path / "results", studies=studies)
    context.studies = replace(context.studies, runs=context.studies.runs[:2], ways=(), search=None)
    train_missing(context, tmp_path / "runs", device="cpu")
    write_paper(context, tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    (line,) = re.findall("<tr><td>the suggested network</td>.*", page)
    _, _, _, validation, test, unseen, *_, p = re.findall("<td>(.*?)</td>", line)
    assert "%" in validation
    assert "%" in test
    assert (unseen, p) == ("-", "")
    assert "28 of the test pictures stand, pixel for pixel, in train or validation." in page


def test_on_other_data_nothing_is_held_against_the_papers_numbers(context: Context, tmp_path: Path) -> None:
    context.studies = replace(context.studies, runs=context.studies.runs[:2], ways=(), search=None)
    train_missing(context, tmp_path / "runs", device="cpu")

    def page_of(context: Context) -> str:
        write_paper(context, tmp_path / "page")
        return (tmp_path / "page" / "index.html").read_text()

    compared = "The suggested network has", "the paper&#39;s rows go", "<td>the paper&#39;s</td>"
    page = page_of(context)
    assert "The paper&#39;s numbers are of FER2013 in its own splits, which these data are not" in page
    assert "which of these pictures they saw there is not known" in page
    assert not any(told in page for told in compared)

    class Fer2013(Context):
        is_fer2013 = True

    page = page_of(Fer2013(**{field.name: getattr(context, field.name) for field in fields(context)}))
    assert "are of FER2013 in its own splits" not in page
    assert "they saw there" not in page
    assert all(told in page for told in compared)


def test_two_processes_do_not_train_in_one_folder(context: Context, tmp_path: Path) -> None:
    with locked(tmp_path / "runs"), pytest.raises(InputError, match="another `mien paper` is training there"):
        train_missing(context, tmp_path / "runs")


def test_a_run_goes_on_where_it_was_stopped(context: Context, tmp_path: Path) -> None:
    (run, *_) = context.studies.runs

    def stop(done: int, _total: int) -> None:
        if done == 5:  # of two epochs of four
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(run, context.ledger, tmp_path, device="cpu", on_progress=stop)
    assert context.row(run) is None
    seen: list[int] = []
    train_run(run, context.ledger, tmp_path, device="cpu", on_progress=lambda done, _total: seen.append(done))
    assert seen == [5, 6, 7, 8]
    row = context.row(run)
    assert row is not None
    assert (row.recipe_sha256, row.epochs) == (identity(run.recipe), "2")
    assert [int(line["epoch"]) for line in context.ledger.curves(row)] == [1, 2]


def test_a_page_is_made_of_what_is_left_of_the_tables(context: Context, studies: Path, tmp_path: Path) -> None:
    context.studies = replace(context.studies, runs=context.studies.runs[:2], ways=(), search=None)
    train_missing(context, tmp_path / "runs", device="cpu")
    (context.ledger.folder / "predictions.csv").unlink()
    left = reopened(context, studies)
    left.studies = context.studies
    write_paper(left, tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<td>Lu et al. (reconstructed)</td>" in page


def test_data_without_a_test_split_leave_gaps(make_dataset: Callable[..., Path], studies: Path, tmp_path: Path) -> None:
    context = open_context(make_dataset(test=0), None, [], results=tmp_path / "results", studies=studies)
    write_paper(context, tmp_path / "page")
    assert "nothing in split test" in (tmp_path / "page" / "index.html").read_text()
