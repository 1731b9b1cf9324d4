"""The models that ship are there, whole, described and licensed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mien.classify import Classifier
from mien.errors import ModelError
from mien.files import sha256_of
from mien.weights import catalogue

ROOT = Path(__file__).resolve().parents[2]


def test_the_default_model_ships() -> None:
    assert catalogue.DEFAULT in catalogue.SHIPPED


@pytest.mark.parametrize("name", catalogue.SHIPPED)
def test_a_shipped_model_is_the_file_of_its_hash_and_says_its_licence(name: str) -> None:
    shipped = catalogue.SHIPPED[name]
    path, answer = catalogue.find(name)
    assert path == Path(catalogue.__file__).parent / shipped.file
    assert answer == shipped.answer
    assert sha256_of(path) == shipped.sha256
    spec = Classifier.load(name).spec
    assert spec == Classifier.load(path, answer=answer).spec
    assert spec.name == name
    assert spec.licence == shipped.licence
    assert shipped.about


@pytest.mark.parametrize("name", catalogue.SHIPPED)
def test_a_shipped_model_has_a_card_that_names_it(name: str) -> None:
    assert name in (ROOT / catalogue.SHIPPED[name].card).read_text(encoding="utf-8")


def test_a_path_is_found_as_it_is_and_means_its_main_answer(tmp_path: Path) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(b"anything")
    assert catalogue.find(path) == (path, "")
    assert catalogue.find(str(path)) == (path, "")


def test_what_is_neither_a_name_nor_a_file_is_refused(tmp_path: Path) -> None:
    for model in (tmp_path, tmp_path / "missing.onnx", "papercnn", ""):
        with pytest.raises(ModelError, match=r"no such model; expected mien, "):
            catalogue.find(model)


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_shipped_file_is_refused_before_it_is_opened(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "paper-cnn.onnx"
    shutil.copy(catalogue.find("paper-cnn")[0], file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    # An absolute path takes the place of one beside the module.
    monkeypatch.setitem(catalogue.SHIPPED, "paper-cnn", replace(catalogue.SHIPPED["paper-cnn"], file=str(file)))
    assert catalogue.find("paper-cnn")[0] == file
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content if damage == "changed" else content[:1000])
    with pytest.raises(ModelError, match="missing or damaged; install mien again"):
        catalogue.find("paper-cnn")
