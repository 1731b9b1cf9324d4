"""`mien data agree`: what it prints and writes, and what goes out and comes in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.data.annotate import LabelStore
from mien.data.faceset import FaceSet
from mien.metrics import wilson_interval

MakeFaceSet = Callable[..., Path]
RunMien = Callable[..., tuple[int, str, str]]
SAID = {
    "Anne Müller": ["happy", "sad", "none", "skip", "fear", "fear"],
    "ben": ["happy", "angry", "none", "sad", "fear", "disgust"],
    "Zoë": ["neutral", "sad", "surprise", "sad", "skip", "happy"],
}


@pytest.fixture
def labelled(make_faceset: MakeFaceSet) -> Path:
    """Return a set of which three people have labelled six faces."""
    folder = make_faceset(12)
    keys = [face.key for face in FaceSet(folder).faces()]
    for name, said in SAID.items():
        for key, answer in zip(keys, said, strict=False):
            LabelStore(folder).save(name, key, answer)
    return folder


def test_a_set_with_three_annotators_is_told_in_numbers(labelled: Path, run_mien: RunMien) -> None:
    code, told, asides = run_mien("data", "agree", labelled)
    assert code == 0
    assert "16 answers of 3 annotators; 6 of 12 faces have two or more; 2 times cannot tell" in told
    content = json.loads((labelled / "agreement.json").read_text(encoding="utf-8"))
    kappa = content["fleiss_kappa"]
    assert (kappa["low"], kappa["high"]) == (None, None)
    assert content["no_interval"] == "too few faces for an interval"
    assert f"Fleiss' kappa: {kappa['value']:.3f} (too few faces for an interval)" in told
    assert content["labels"] == {"angry": 0, "disgust": 0, "fear": 1, "happy": 1, "sad": 2, "surprise": 0, "neutral": 0}
    assert content["without"] == {"nobody answered": 6, "none of these": 1, "no majority": 1}
    ben = next(one for one in content["annotators"] if one["name"] == "ben")
    assert (ben["compared"], ben["same"]) == (3, 2)
    assert (ben["low"], ben["high"]) == wilson_interval(2, 3)
    assert f"│ 66.7% ({ben['low']:.1%} to {ben['high']:.1%})" in told
    assert content["argued"][0]["votes"] == {"disgust": 1, "fear": 1, "happy": 1}
    assert "agreement.html" in asides


def test_the_page_holds_the_pictures_and_needs_nothing_else(labelled: Path, run_mien: RunMien, tmp_path: Path) -> None:
    run_mien("data", "agree", labelled, "--out", tmp_path / "there")
    page = (tmp_path / "there" / "agreement.html").read_text(encoding="utf-8")
    assert not (labelled / "agreement.html").exists()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "Anne Müller" in page
    assert page.count("(too few faces for an interval)") == 2
    assert not re.findall(r"(?:src|href)=.(?!data:)", page)


def test_of_twenty_faces_kappa_and_alpha_have_intervals(make_faceset: MakeFaceSet, run_mien: RunMien) -> None:
    folder = make_faceset(20)
    for number, face in enumerate(FaceSet(folder).faces()):
        LabelStore(folder).save("ann", face.key, "happy" if number % 2 else "sad")
        LabelStore(folder).save("ben", face.key, "happy" if number % 3 else "sad")
    code, told, _ = run_mien("data", "agree", folder)
    assert code == 0
    content = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))
    assert content["no_interval"] == ""
    page = (folder / "agreement.html").read_text(encoding="utf-8")
    for name, title in (("fleiss_kappa", "Fleiss' kappa"), ("krippendorff_alpha", "Krippendorff's alpha")):
        value, low, high = content[name].values()
        assert low < value < high
        assert f"{title}: {value:.3f} ({low:.3f} to {high:.3f})" in told
        assert f"{value:.3f} ({low:.3f} to {high:.3f})" in page


def test_one_annotator_hears_that_agreement_needs_two(make_faceset: MakeFaceSet, run_mien: RunMien) -> None:
    folder = make_faceset(4)
    for said in ([], ["happy"]):
        for key, answer in zip([face.key for face in FaceSet(folder).faces()], said, strict=False):
            LabelStore(folder).save("ann", key, answer)
        code, told, _ = run_mien("data", "agree", folder)
        assert code == 0
        assert "agreement needs two annotators" in told
        content = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))
        assert content["fleiss_kappa"] == {"value": None, "low": None, "high": None}


def test_answers_for_removed_faces_are_kept_told_and_not_counted(labelled: Path, run_mien: RunMien) -> None:
    run_mien("data", "agree", labelled)
    before = json.loads((labelled / "agreement.json").read_text(encoding="utf-8"))
    LabelStore(labelled).save("ben", "gone", "sad", "fear")
    _, told, _ = run_mien("data", "agree", labelled)
    assert "no longer in the set, kept and not counted: 1" in told
    after = json.loads((labelled / "agreement.json").read_text(encoding="utf-8"))
    assert after == before | {"removed": 1}
    assert len(LabelStore(labelled).answers("ben")) == 7


def test_the_rule_and_the_least_number_of_answers_decide_the_labels(labelled: Path, run_mien: RunMien) -> None:
    run_mien("data", "agree", labelled, "--rule", "unanimity", "--least", 2)
    content = json.loads((labelled / "agreement.json").read_text(encoding="utf-8"))
    assert content["labels"]["sad"] == content["labels"]["fear"] == 1
    assert content["without"]["not unanimous"] == 4


def test_what_is_exported_can_be_imported(labelled: Path, make_faceset: MakeFaceSet, run_mien: RunMien,
                                          tmp_path: Path) -> None:  # fmt: skip
    code, _, asides = run_mien(
        "data", "agree", labelled, "--export-answers", tmp_path / "answers.csv", "--export-votes",
        tmp_path / "votes.csv", "--export-folders", tmp_path / "folders",
    )  # fmt: skip
    assert code == 0
    assert "18 answers" in asides
    assert "6 faces with votes" in asides
    assert "4 pictures" in asides
    sources = {"answers": ["answers.csv"], "votes": ["votes.csv", "--annotator", "crowd"],
               "folders": ["folders", "--annotator", "rule"]}  # fmt: skip
    labels = json.loads((labelled / "agreement.json").read_text(encoding="utf-8"))["labels"]
    for name, (file, *more) in sources.items():
        other = make_faceset(12, name=f"other {name}")
        code, _, asides = run_mien("data", "agree", other, "--import", tmp_path / file, *more)
        assert code == 0
        assert "answers added" in asides
        assert json.loads((other / "agreement.json").read_text(encoding="utf-8"))["labels"] == labels


def test_an_import_that_contradicts_is_one_plain_message(labelled: Path, run_mien: RunMien, tmp_path: Path) -> None:
    key = FaceSet(labelled).faces()[0].key
    text = f"face,annotator,answer,second\n{key},ben,fear,\ngone,ben,sad,\n"
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    code, told, asides = run_mien("data", "agree", labelled, "--import", tmp_path / "in.csv")
    assert (code, told) == (2, "")
    assert "--replace" in asides
    code, _, asides = run_mien("data", "agree", labelled, "--import", tmp_path / "in.csv", "--replace")
    assert code == 0
    assert "1 replaced, 1 of faces that are not in the set, not imported" in asides


def test_an_unknown_rule_is_refused_before_anything_is_imported(
    labelled: Path, run_mien: RunMien, tmp_path: Path
) -> None:
    before = LabelStore(labelled).answers()
    run_mien("data", "agree", labelled, "--export-answers", tmp_path / "answers.csv")
    text = (tmp_path / "answers.csv").read_text(encoding="utf-8").replace(",ben,", ",eve,")
    (tmp_path / "answers.csv").write_text(text, encoding="utf-8")
    assert run_mien("data", "agree", labelled, "--import", tmp_path / "answers.csv", "--rule", "most")[0] == 2
    assert LabelStore(labelled).answers() == before


def test_what_makes_no_sense_is_refused(labelled: Path, run_mien: RunMien, tmp_path: Path) -> None:
    for arguments, told in (
        ((labelled, "--rule", "plurality"), "unknown rule"),
        ((labelled, "--annotator", "ben"), "--import"),
        ((tmp_path / "nothing",), "no set of faces"),
    ):
        code, _, asides = run_mien("data", "agree", *arguments)
        assert code == 2
        assert told in asides
