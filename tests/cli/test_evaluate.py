"""`mien evaluate`: a model and a split in, scores out."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from mien.classify import Classifier
from mien.cli.console import out as stdout
from mien.data.annotate import LabelStore
from mien.data.faceset import FaceSet
from mien.data.manifest import read, write
from mien.evaluate.mixture_rows import read_mixtures
from mien.evaluate.report import read_results
from mien.files import sha256_of
from mien.labels import FER2013, FERPLUS, VOTES
from mien.spec import CropSpec, ModelSpec

MakeDataset = Callable[..., Path]
MakeModel = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run_mien: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return a function that runs `mien evaluate` in a folder of its own and gives (exit code, stdout, stderr)."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return partial(run_mien, "evaluate")


def make_twins(folder: Path, count: int) -> None:
    """Copy the first training crops over the first test crops."""
    dataset = read(folder)
    crops = np.array(dataset.crops)
    train, test = (dataset.manifest.rows_in(split)[:count] for split in ("train", "test"))
    crops[test] = crops[train]
    write(dataset.manifest, crops, folder)


def make_faces(folder: Path, portrait: Path, *rows: str, header: str = "file,emotion") -> Path:
    """Write faces/ with a portrait and a picture of nothing, beside labels.csv."""
    (folder / "faces").mkdir(parents=True)
    shutil.copy(portrait, folder / "faces" / "portrait.jpg")
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(folder / "faces" / "nothing.png")
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_a_split_is_scored_shown_and_added_to_the_results(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data, model = make_dataset(), make_model()
    make_twins(data, 4)
    code, out, err = run(model, "--data", data, "--split", "test")
    assert code == 0
    dataset, classifier = read(data), Classifier.load(model)
    rows = dataset.manifest.rows_in("test")
    right = classifier.predict(np.array(dataset.crops[rows])).argmax(axis=1) == dataset.manifest.label[rows]
    whole, alone = read_results("results/results.csv")
    for row, expected in ((whole, right), (alone, right[4:])):
        assert (int(row["n"]), int(row["correct"])) == (len(expected), int(expected.sum()))
        assert float(row["accuracy"]) == pytest.approx(expected.mean(), abs=5e-5)
        assert float(row["low_95"]) < float(row["accuracy"]) < float(row["high_95"])
        assert (row["model"], row["data"], row["split"], row["detector"]) == ("tiny", "dataset", "test", "")
        assert row["model_sha256"] == sha256_of(model)
        assert row["manifest_sha256"] == dataset.manifest.sha256
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
        assert re.search(rf"│ {row['subset']} +│ {len(expected)} ", out)
        assert f"{100 * expected.mean():.2f}%" in out
    assert (whole["subset"], alone["subset"]) == ("all", "unseen")
    for label in FER2013:
        assert re.search(rf"│ {label} +│", out)
    folder = Path(".runs/evaluate/tiny-dataset-test")
    assert err == f"confusion matrix and per-sample table in {folder}; scores added to results/results.csv\n"
    assert sorted(path.name for path in folder.iterdir()) == ["confusion.csv", "confusion.png", "samples.csv"]
    samples = samples_of(folder.name)
    assert [sample["actual"] == sample["predicted"] for sample in samples] == right.tolist()
    assert [sample["seen"] for sample in samples] == ["1"] * 4 + ["0"] * (len(rows) - 4)

    assert run(model, "--data", data, "--split", "test")[0] == 0
    assert len(read_results("results/results.csv")) == 2, "the same measurement again is no new row"
    assert run(model, "--data", data, "--split", "val")[0] == 0
    assert [row["split"] for row in read_results("results/results.csv")] == ["test", "test", "val"]


def spec_of(name: str, *, labels: tuple[str, ...] = FER2013) -> str:
    """Return the description of a model that goes by a name."""
    return ModelSpec(name, labels, CropSpec(), 1.0, False, "MIT", "0" * 64).dumps()


def always(model: Path, label: str) -> Path:
    """Return a tiny model, changed so that it reads every face as one expression."""
    content = onnx.load(model)
    weights = np.zeros((2, len(FER2013)), np.float32)
    weights[:, FER2013.index(label)] = 9
    (place,) = [constant for constant in content.graph.initializer if constant.name == "fer2013.weights"]
    place.CopyFrom(numpy_helper.from_array(weights, place.name))
    onnx.save(content, model)
    return model


def show(folder: Path, **counts: int) -> None:
    """Let the test crops show so many times each expression."""
    dataset = read(folder)
    label = dataset.manifest.label.copy()
    label[dataset.manifest.rows_in("test")] = [FERPLUS.index(name) for name in counts for _ in range(counts[name])]
    write(replace(dataset.manifest, label=label), np.array(dataset.crops), folder)


def vote(folder: Path, *, people: int = 9, nobody: int = 0, contempt: int = 0) -> None:
    """Let so many taggers see the label in every crop; but contempt, or nothing, in the first test crops."""
    dataset = read(folder)
    manifest = dataset.manifest
    votes = np.zeros((len(manifest), len(VOTES)), np.uint8)
    votes[np.arange(len(manifest)), manifest.label] = people
    first = manifest.rows_in("test")
    votes[first[: nobody + contempt]] = 0
    votes[first[nobody : nobody + contempt], VOTES.index("contempt")] = people
    write(replace(manifest, votes=votes), np.array(dataset.crops), folder)


def samples_of(folder: str) -> list[dict[str, str]]:
    with (Path(".runs/evaluate") / folder / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_several_models_are_averaged(make_dataset: MakeDataset, make_model: MakeModel, run: Run) -> None:
    data, pair = make_dataset(), [make_model("a.onnx", mirror=True), make_model("b.onnx", spec=spec_of("other"))]
    code, out, _ = run(*pair, "--data", data)
    assert code == 0
    (row,) = read_results("results/results.csv")
    assert row["model"] == "tiny+other"
    assert row["model_sha256"] == "+".join(map(sha256_of, pair))
    assert "tiny+other on dataset, test" in out
    crops = np.array(read(data).crops[read(data).manifest.rows_in("test")])
    mean = np.mean([Classifier.load(path).predict(crops) for path in pair], axis=0)
    shares = [[float(sample[f"p_{label}"]) for label in FER2013] for sample in samples_of("tiny_other-dataset-test")]
    np.testing.assert_allclose(shares, mean, atol=1e-6)


def test_of_a_file_with_several_answers_the_one_that_is_asked_for_is_scored(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data, model = make_dataset(), make_model(answers=("people", "fer2013"))
    for answer in ((), ("--answer", "fer2013")):
        assert run(model, "--data", data, *answer)[0] == 0
    main, other = read_results("results/results.csv")
    assert (main["model"], other["model"]) == ("tiny", "tiny-fer2013")
    assert samples_of("tiny-dataset-test") != samples_of("tiny-fer2013-dataset-test")


@pytest.mark.parametrize("truth", ["majority", "plurality"])
def test_scored_by_votes_samples_without_a_truth_that_the_model_knows_are_left_out_and_counted(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, truth: str
) -> None:
    data, model = make_dataset(), make_model()
    vote(data, nobody=2, contempt=3)
    code, out, err = run(model, "--data", data, "--truth", truth)
    assert code == 0
    assert err.splitlines()[0] == f"5 samples left out: no {truth}, or one that the model does not know"
    (row,) = read_results("results/results.csv")
    assert (row["n"], row["truth"], row["recall_contempt"]) == ("23", truth, "")
    assert f"tiny on dataset, test, {truth}" in out
    assert len(samples_of(f"tiny-dataset-test-{truth}")) == 23
    code, out, err = run(model, "--data", data)
    assert len(err.splitlines()) == 1, "by label every sample has a truth"
    assert [(row["n"], row["truth"]) for row in read_results("results/results.csv")] == [("23", truth), ("28", "label")]


def test_views_and_changes_are_measurements_of_their_own_and_repeat(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data, model = make_dataset(), make_model()
    ways = (("ten-crop", ""), ("ten-crop", "cameras"), ("own", "cameras"), ("own", "cameras"))
    shares: list[list[dict[str, str]]] = []
    for views, change in ways:
        code, out, _ = run(model, "--data", data, "--views", views, "--change", change)
        assert code == 0
        named = [part for part in (views.replace("own", ""), change) if part]
        assert ", ".join(["tiny on dataset, test", *named]) in out
        shares.append(samples_of("-".join(["tiny-dataset-test", *named])))
    assert [(row["views"], row["change"]) for row in read_results("results/results.csv")] == list(ways[:3])
    assert shares[2] == shares[3], "chance is seeded"
    assert shares[0] != shares[1] != shares[2] != shares[0]


def test_output_goes_where_it_is_asked_to(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    table = tmp_path / "elsewhere" / "scores.csv"
    assert run(make_model(), "--data", make_dataset(), "--out", tmp_path / "out", "--results", table)[0] == 0
    assert len(read_results(table)) == 1
    assert (tmp_path / "out" / "confusion.png").is_file()
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("option", ["--out", "--results"])
def test_places_that_cannot_be_written_are_told_before_the_work(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path, option: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    code, told, said = run(make_model(), "--data", make_dataset(), option, tmp_path / "file" / "below" / "r.csv")
    assert (code, told) == (2, "")
    assert "cannot write there" in said
    assert not list(Path.cwd().iterdir())


def test_no_row_is_written_for_a_subset_of_nothing(make_dataset: MakeDataset, make_model: MakeModel, run: Run) -> None:
    data = make_dataset()
    make_twins(data, 28)
    assert run(make_model(), "--data", data)[0] == 0
    assert [row["subset"] for row in read_results("results/results.csv")] == ["all"]


def test_of_labelled_pictures_the_face_is_found_and_a_missed_one_is_an_error(
    make_model: MakeModel, portrait: Path, run: Run, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "people", portrait, "portrait.jpg,happy", "nothing.png,sad")
    code, out, _ = run(make_model(), "--data", folder)
    assert code == 0
    (row,) = read_results("results/results.csv")
    assert (row["n"], row["missed"], row["detector"], row["subset"]) == ("2", "1", "dlib", "all")
    assert float(row["accuracy"]) <= 0.5
    assert row["recall_sad"] == "0.0000"
    with Path(".runs/evaluate/tiny-people-test/confusion.csv").open(newline="") as file:
        confusion = {record["actual"]: record for record in csv.DictReader(file)}
    assert confusion["sad"]["no face"] == "1"
    assert confusion["happy"]["no face"] == "0"
    assert "no face" in out
    assert run(make_model(), "--data", folder, "--detector", "none")[0] == 0
    later = read_results("results/results.csv")[1]
    assert (later["detector"], later["missed"], later["n"]) == ("none", "0", "2")


def test_a_few_faces_of_the_real_data_are_scored_with_all_of_them_in_the_denominator(
    shared: Path, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    natural = shared / "data" / "natural"
    folder = tmp_path / "few"
    (folder / "faces").mkdir(parents=True)
    header, *lines = (natural / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([header, *lines[:6]]) + "\n")
    for line in lines[:6]:
        name = line.split(",")[header.split(",").index("file")]
        shutil.copy(natural / "faces" / name, folder / "faces" / name)
    assert run(make_model(), "--data", folder)[0] == 0
    assert read_results("results/results.csv")[0]["n"] == "6"


def test_where_crops_were_cut_already_no_detector_is_named(make_model: MakeModel, run: Run, tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    rows = [f"{label},{pixels},PrivateTest" for label in range(7)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    assert run(make_model(), "--data", tmp_path / "fer2013.csv")[0] == 0
    (row,) = read_results("results/results.csv")
    assert (row["detector"], row["n"], row["data"]) == ("", "7", "fer2013.csv")


def test_names_cannot_lead_out_of_the_folder_or_be_taken_for_markup(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    code, out, err = run(make_model(spec=spec_of("../[red]x/$y$")), "--data", make_dataset("[b]data"))
    assert code == 0
    assert "../[red]x/$y$ on [b]data, test" in out
    (folder,) = Path(".runs/evaluate").iterdir()
    assert (folder / "samples.csv").is_file()
    assert str(folder) in err


def test_a_long_name_is_cut_and_told_apart_from_another_one(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data = make_dataset()
    for end in "ab":
        assert run(make_model(spec=spec_of("x" * 230 + end)), "--data", data)[0] == 0
    folders = list(Path(".runs/evaluate").iterdir())
    assert len(folders) == 2
    assert all((folder / "confusion.png").is_file() and len(folder.name) < 255 for folder in folders)
    assert len(read_results("results/results.csv")) == 2


def test_pictures_that_cannot_be_read_are_left_out_and_told(make_model: MakeModel, run: Run, tmp_path: Path) -> None:
    (tmp_path / "own/faces").mkdir(parents=True)
    Image.fromarray(np.full((48, 48), 9, np.uint8)).save(tmp_path / "own/faces/a.png")
    (tmp_path / "own/faces/b.png").write_bytes(b"no picture")
    (tmp_path / "own/labels.csv").write_text("file,emotion\na.png,happy\nb.png,sad\nc.png,sad\n")
    code, _, err = run(make_model(), "--data", tmp_path / "own")
    assert code == 1
    assert err.startswith("dropped:\n  labels.csv:3: ")
    assert "\ndropped 2 bad rows\n" in err
    assert [row["n"] for row in read_results("results/results.csv")] == ["1"]


def test_what_labelled_pictures_cannot_tell_is_said_before_their_faces_are_found(
    make_model: MakeModel, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own/faces").mkdir(parents=True)
    (tmp_path / "own/labels.csv").write_text("file,emotion\na.png,happy\n")
    monkeypatch.setattr("mien.faces.detect.make_detector", lambda *_: pytest.fail("it looks for faces"))
    for option in (("--truth", "majority"), ("--mixed",)):
        told = one_line(run(make_model(), "--data", tmp_path / "own", *option))
        assert f"labelled pictures have no votes; leave {option[0]} out" in told


def one_line(told: tuple[int, str, str]) -> str:
    """Return the error of a command that could do nothing: exit code 2, one line on stderr, nothing on stdout."""
    code, out, err = told
    assert code == 2
    assert out == ""
    assert err.startswith("mien: ")
    assert len(err.splitlines()) == 1
    assert not Path("results").exists()
    return err


def test_a_model_that_is_not_there_or_not_ours_is_one_line(make_dataset: MakeDataset, run: Run, tmp_path: Path) -> None:
    data = make_dataset()
    assert "no such model" in one_line(run(tmp_path / "absent.onnx", "--data", data))
    for content in (b"", b"text", bytes(1000)):
        (tmp_path / "bad.onnx").write_bytes(content)
        assert "bad.onnx: " in one_line(run(tmp_path / "bad.onnx", "--data", data))


def test_data_that_is_not_there_or_damaged_is_one_line(make_model: MakeModel, run: Run, tmp_path: Path) -> None:
    assert "no such file or folder" in one_line(run(make_model(), "--data", tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    assert "no layout that mien knows" in one_line(run(make_model(), "--data", tmp_path / "empty"))
    (tmp_path / "empty" / "manifest.parquet").write_bytes(b"PAR1")
    assert "damaged" in one_line(run(make_model(), "--data", tmp_path / "empty"))


def test_a_split_that_is_empty_is_one_line(
    make_dataset: MakeDataset, make_model: MakeModel, portrait: Path, run: Run, tmp_path: Path
) -> None:
    data = make_dataset(val=0)
    assert "nothing in split val" in one_line(run(make_model(), "--data", data, "--split", "val"))
    faces = make_faces(tmp_path / "people", portrait, "portrait.jpg,happy,train", header="file,emotion,split")
    assert "nothing in split test" in one_line(run(make_model(), "--data", faces, "--detector", "none"))


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("split", "train, val, test"),
        ("truth", "label, majority, plurality"),
        ("views", "own, ten-crop"),
        ("change", "cameras"),
    ],
)
def test_a_value_that_an_option_does_not_know_is_one_line_and_told_before_the_work(
    run: Run, tmp_path: Path, option: str, expected: str
) -> None:
    told = one_line(run(tmp_path / "absent.onnx", "--data", tmp_path / "absent", f"--{option}", "nose"))
    assert told == f"mien: unknown {option} 'nose'; expected one of {expected}\n"


def test_an_answer_that_a_file_does_not_give_is_one_line(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    told = one_line(run(make_model(), "--data", make_dataset(), "--answer", "people"))
    assert "has no answer 'people'; it has fer2013" in told


def test_models_that_have_no_average_are_one_line(make_dataset: MakeDataset, make_model: MakeModel, run: Run) -> None:
    other = make_model("other.onnx", spec=spec_of("other", labels=FER2013[::-1]))
    told = one_line(run(make_model(), other, "--data", make_dataset()))
    assert "other.onnx has other labels or reads other crops than" in told


def test_votes_that_a_dataset_does_not_have_or_that_decide_nothing_are_one_line(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data = make_dataset()
    assert "no votes; prepare it with --ferplus" in one_line(run(make_model(), "--data", data, "--truth", "majority"))
    vote(data, nobody=20, contempt=8)
    told = one_line(run(make_model(), "--data", data, "--truth", "plurality"))
    assert "nothing in split test that has a plurality" in told


def test_a_dataset_that_does_not_fit_the_model_is_one_line(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    wider = make_model("wider.onnx", crop=CropSpec(margin=0.5))
    assert "cut otherwise" in one_line(run(wider, "--data", make_dataset()))
    data = make_dataset("contempt")
    manifest = read(data).manifest
    label = np.where(np.arange(len(manifest)) % 2, FERPLUS.index("contempt"), manifest.label)
    write(replace(manifest, label=label), np.array(read(data).crops), data)
    assert "does not know contempt, which split test holds" in one_line(run(make_model(), "--data", data))


def test_a_detector_that_is_unknown_is_one_line(
    make_model: MakeModel, portrait: Path, run: Run, tmp_path: Path
) -> None:
    faces = make_faces(tmp_path / "people", portrait, "portrait.jpg,happy")
    assert "nose" in one_line(run(make_model(), "--data", faces, "--detector", "nose"))


@pytest.mark.parametrize("detector", ["nose", "dlib"])
def test_a_detector_for_faces_that_are_cut_already_is_refused(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, detector: str
) -> None:
    told = one_line(run(make_model(), "--data", make_dataset(), "--detector", detector))
    assert "--detector would be ignored: it is for faces/ beside labels.csv, which" in told


def test_a_foreign_table_is_refused_before_the_work_and_left_as_it_is(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "budget.csv").write_text("month,sum\nmay,3\n")
    told = run(make_model(), "--data", make_dataset(), "--results", tmp_path / "budget.csv")
    assert "budget.csv: not a results.csv" in one_line(told)
    assert (tmp_path / "budget.csv").read_text() == "month,sum\nmay,3\n"
    assert not list(Path.cwd().iterdir())


def test_a_place_that_cannot_be_written_is_said(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, _, err = run(make_model(), "--data", make_dataset(), "--out", tmp_path / "file")
    assert code == 2
    assert re.fullmatch(r"mien: .*file: cannot write there: .*\n", err)


def test_two_models_are_compared_on_the_same_faces(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    data, before = make_dataset(), always(make_model(), "angry")
    after = always(make_model("own.onnx", spec=spec_of("own")), "happy")
    show(data, happy=15, angry=4, sad=9)
    code, out, err = run(after, "--against", before, "--data", data)
    assert code == 0
    told = "own is better than tiny: 15 of 28 faces gained, 4 lost, p = 0.019"
    assert told in out
    assert "own against tiny on dataset, test, all samples" in out
    assert re.search(r"│ accuracy +│ 28 │ 14\.3% +│ [^│]+│ 53\.6% +│ [^│]+│ 15 +│ 4 ", out)
    rows = read_results("results/results.csv")
    assert [(row["model"], row["correct"], row["recall_happy"]) for row in rows] == [
        ("own", "15", "1.0000"), ("tiny", "4", "0.0000"),
    ]  # fmt: skip
    path = Path(".runs/evaluate/own-against_tiny-dataset-test/compare.html")
    assert f"the comparison as a page: {path}" in err
    page = path.read_text(encoding="utf-8")
    assert told in page
    assert "<h1>own against tiny</h1>" in page
    assert "Before is tiny, after own" in page
    assert f"own: SHA-256 {sha256_of(after)}" in page
    for label, (first, second) in {"happy": (0, 560), "angry": (560, 0), "sad": (0, 0)}.items():
        for width, mark, when in ((first, "before", "before"), (second, "after", "after")):
            bar = rf'width="{width}\.0" height="10" fill="var\(--{mark}\)"><title>{label} {when}: {width / 5.6:.1f}%<'
            assert re.search(bar, page)


def test_a_page_of_other_models_goes_and_a_file_that_only_has_its_name_stays(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    data, model, other = make_dataset(), make_model(), make_model("own.onnx", spec=spec_of("own"))
    page = tmp_path / "out" / "compare.html"
    assert run(model, "--data", data, "--out", page.parent, "--against", other)[0] == 0
    assert page.is_file()
    assert run(model, "--data", data, "--out", page.parent)[0] == 0
    assert not page.exists()
    page.write_text("<html>somebody's own</html>")
    assert run(model, "--data", data, "--out", page.parent)[0] == 0
    assert page.read_text() == "<html>somebody's own</html>"


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ((), ["confusion.csv", "confusion.png", "samples.csv"]),
        (("--against", "other.onnx"), ["compare.html", "confusion.csv", "confusion.png", "samples.csv"]),
        (("--mixed",), []),
    ],
)
def test_what_was_measured_is_kept_where_nobody_reads_stdout(
    make_dataset: MakeDataset,
    make_model: MakeModel,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: tuple[str, ...],
    kept: list[str],
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    data, model = make_dataset(votes=True), make_model()
    make_model("other.onnx", spec=spec_of("other"))
    monkeypatch.setattr(stdout, "print", closed)
    monkeypatch.setattr("mien.cli.main._drop_stdout", lambda: None)  # it is pytest's
    options = [tmp_path / name if name.endswith(".onnx") else name for name in more]
    assert run(model, "--data", data, *options)[0] == 1
    table = read_mixtures("results/mixtures.csv") if more == ("--mixed",) else read_results("results/results.csv")
    assert [row["model"] for row in table] == ["tiny", *(["other"] if len(more) == 2 else [])]
    assert sorted(path.name for path in Path(".runs").glob("evaluate/*/*")) == kept


def test_a_folder_whose_name_is_no_utf_8_is_measured_under_a_name_that_can_be_shown(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run, tmp_path: Path
) -> None:
    name = os.fsdecode("café 顔 $".encode("latin-1", "ignore"))
    try:
        data = make_dataset().rename(tmp_path / name)
    except OSError:
        pytest.skip("this disk takes no such name")
    code, out, err = run(make_model(), "--data", data)
    assert (code, len(err.splitlines())) == (0, 1)
    assert r"tiny on caf\xe9  $, test" in out
    (row,) = read_results("results/results.csv")
    assert row["data"] == r"caf\xe9  $"
    assert len(list(Path(".runs/evaluate").glob("*/confusion.png"))) == 1


def test_what_was_decided_about_a_source_is_told(
    make_model: MakeModel, make_faceset: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    for split, number in (("train", 8), ("test", 4)):
        for label in ("happy", "sad"):
            folder = tmp_path / "folders" / split / label
            folder.mkdir(parents=True)
            for index in range(number):
                Image.fromarray(np.full((48, 48), 10 * index + 5, np.uint8)).save(folder / f"{index}.png")
    code, _, err = run(make_model(), "--data", tmp_path / "folders")
    assert code == 0
    assert err.startswith("validation: ")
    faces = make_faceset(40, people=20)
    for number, face in enumerate(FaceSet(faces).faces()):
        if number % 4:
            LabelStore(faces).save("anna", face.key, "happy" if number % 2 else "sad")
    code, _, err = run(make_model(), "--data", faces)
    assert code == 0
    assert "labels by majority of at least 1 answers of 1 annotators\n" in err
    assert "no label, nobody answered: 10 faces\n" in err


def test_models_of_other_labels_are_not_compared(make_dataset: MakeDataset, make_model: MakeModel, run: Run) -> None:
    other = make_model("eight.onnx", answers=("ferplus",))
    told = one_line(run(make_model(), "--against", other, "--data", make_dataset()))
    assert "--against wants a model of the same labels" in told
    assert not list(Path.cwd().iterdir())


def test_mixed_expressions_are_measured_beside_the_taggers(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data, model = make_dataset(votes=True, silent=slice(98, 101)), make_model()
    make_twins(data, 4)
    code, out, err = run(model, "--data", data, "--mixed")
    assert (code, err) == (0, "scores added to results/mixtures.csv\n")
    whole, alone = read_mixtures("results/mixtures.csv")
    assert [(row["subset"], row["n"], row["calibration_label_n"]) for row in (whole, alone)] == [
        ("all", "25", "28"), ("unseen", "24", "24"),
    ]  # fmt: skip
    assert whole["top_two_n"] == "25", "two of ten see another expression in every face"
    assert whole["model_sha256"] == sha256_of(model)
    assert re.search(rf"called unsure +│ {100 * float(whole['words_unsure']):.1f}%", out)
    assert not Path("results/results.csv").exists()
    assert not Path(".runs").exists()
    assert run(model, "--data", data, "--mixed", "--change", "cameras")[0] == 0
    changed = read_mixtures("results/mixtures.csv")[2]
    assert (whole["change"], changed["change"], changed["n"]) == ("", "cameras", "25")
    assert changed["js_model"] != whole["js_model"], "the crops were changed"


def test_of_one_annotator_there_is_no_majority_and_what_is_not_there_is_empty(
    make_dataset: MakeDataset, make_model: MakeModel, run: Run
) -> None:
    data, model = make_dataset(), make_model()
    vote(data, people=1)
    told = one_line(run(model, "--data", data, "--truth", "majority"))
    assert "what one person alone saw counts for nothing there: score by plurality or label" in told
    code, out, _ = run(model, "--data", data, "--mixed")
    assert code == 0
    cells = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in out.splitlines() if "│" in line}
    assert cells["faces with votes"] == "28"
    assert cells["as many others, drawn from the taggers' votes"] == "0.000"
    assert cells["faces with a majority"] == "0"
    assert {cells[name] for name in ("right", "without the fifth that is least sure", "of that fifth")} == {""}
    assert cells["without those called unsure"] == ""


def test_mixed_expressions_need_votes_and_one_model(make_dataset: MakeDataset, make_model: MakeModel, run: Run) -> None:
    model = make_model()
    assert "the dataset has no votes" in one_line(run(model, "--data", make_dataset(), "--mixed"))
    for other in (("--truth", "majority"), ("--against", model), ("--out", "folder")):
        assert "--mixed measures one model" in one_line(run(model, "--data", "nowhere", "--mixed", *other))
    Path("mixtures.csv").write_text("something,else\n")
    told = run(model, "--data", "nowhere", "--mixed", "--results", "any.csv")
    assert "mixtures.csv: not a mixtures.csv" in one_line(told)
