"""Rows are the same in every format, and a file is there when it is whole, or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import InputError, OutputError
from mien.labels import FER2013, FERPLUS
from mien.sinks import FORMATS, ParquetSink, Row, open_sink, to_row
from mien.types import Face, FrameReading, Reading

KEYS = [
    "source", "frame", "time_s", "face", "track", "box", "detector_score", "expression", "confidence", "probabilities",
    "mixture",
]  # fmt: skip


def reading(seed: int = 0, labels: tuple[str, ...] = FER2013) -> Reading:
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.ones(len(labels))).astype(np.float32)
    box = np.sort(generator.uniform(-5, 500, (2, 2)), axis=0).ravel().astype(np.float32)
    face = Face(box, None, float(generator.random()))
    return Reading(face, dict(zip(labels, shares.tolist(), strict=True)))


def rows_of(count: int, source: str = "picture.jpg") -> list[Row]:
    return [to_row(source, number, reading(number)) for number in range(count)]


def read_back(path: Path) -> list[Row]:
    """Return the rows of a file in any format, as JSON lines give them."""
    text = "" if path.suffix == ".parquet" else path.read_bytes().decode("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line]
    if path.suffix == ".parquet":
        flat = pq.read_table(path).to_pylist()
    else:
        flat = list(csv.DictReader(io.StringIO(text, newline="")))
    return [nested(row) for row in flat]


def nested(row: dict[str, Any]) -> Row:
    """Return a flat row as JSON has it; the texts of CSV as the numbers that they are."""

    def number(key: str, kind: Callable[[Any], Any]) -> Any:
        return None if row[key] in (None, "") else kind(row[key])

    return {
        "source": row["source"],
        "frame": number("frame", int),
        "time_s": number("time_s", float),
        "face": number("face", int),
        "track": number("track", int),
        "box": [number(f"box_{corner}", float) for corner in ("x0", "y0", "x1", "y1")],
        "detector_score": number("detector_score", float),
        "expression": row["expression"],
        "confidence": number("confidence", float),
        "probabilities": {key.removeprefix("p_"): number(key, float) for key in row if key.startswith("p_")},
        "mixture": row["mixture"],
    }


def told_flat(rows: list[Row], kind: str) -> list[Row]:
    """Return rows as a format tells them: of a mixture, CSV and Parquet hold the name."""
    return rows if kind == "jsonl" else [{**row, "mixture": row["mixture"]["name"]} for row in rows]


def write(path: Path, kind: str, rows: list[Row], labels: tuple[str, ...] = FER2013, *, at_once: int = 3) -> None:
    with open_sink(path, kind, labels) as sink:
        for start in range(0, len(rows), at_once):
            sink.write(rows[start : start + at_once])


def test_a_row_has_the_keys_of_the_design_in_their_order() -> None:
    row = to_row("folder/picture.jpg", 2, reading(5))
    assert list(row) == KEYS
    assert (row["source"], row["face"]) == ("folder/picture.jpg", 2)
    assert (row["frame"], row["time_s"], row["track"]) == (None, None, None)
    assert list(row["probabilities"]) == list(FER2013)
    assert row["expression"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
    assert row["confidence"] == row["probabilities"][row["expression"]]
    assert np.allclose(row["box"], reading(5).face.box_xyxy, atol=0.01)
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("kind", FORMATS)
def test_a_face_of_a_video_tells_its_frame_its_time_and_its_person(tmp_path: Path, kind: str) -> None:
    followed = replace(reading(2), track=3)
    rows = [to_row("clip.mp4", 0, followed, frame=FrameReading(41, 1.64, [followed]))]
    assert (rows[0]["frame"], rows[0]["time_s"], rows[0]["track"]) == (41, 1.64, 3)
    write(tmp_path / f"readings.{kind}", kind, rows)
    assert read_back(tmp_path / f"readings.{kind}") == told_flat(rows, kind)


def test_a_mixture_is_told_in_words_and_shares() -> None:
    face = reading().face
    for probabilities, name, labels in (
        ({"happy": 0.97, "surprise": 0.02, "sad": 0.01}, "happy", ["happy"]),
        ({"happy": 0.6, "surprise": 0.39, "sad": 0.01}, "happily surprised", ["happy", "surprise"]),
        ({"happy": 0.34, "surprise": 0.33, "sad": 0.33}, "unsure", []),
    ):
        told = to_row("a.jpg", 0, Reading(face, probabilities))["mixture"]
        assert (told["name"], list(told["shares"])) == (name, labels)


def test_numbers_of_somebody_elses_detector_are_written_too() -> None:
    face = Face(np.array([1, 2, 3, 4], np.float64), None, np.float32(0.5))  # type: ignore[arg-type]  # as some give it
    row = to_row("a.jpg", 0, Reading(face, {"happy": 0.75, "sad": 0.25}))
    assert json.loads(json.dumps(row))["detector_score"] == 0.5


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 7])
def test_what_is_written_is_read_again(tmp_path: Path, kind: str, count: int) -> None:
    rows = rows_of(count)
    write(tmp_path / f"readings.{kind}", kind, rows)
    assert read_back(tmp_path / f"readings.{kind}") == told_flat(rows, kind)
    assert [path.name for path in tmp_path.iterdir()] == [f"readings.{kind}"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_models_own_labels_make_the_columns(tmp_path: Path, kind: str) -> None:
    rows = [to_row("a.jpg", 0, reading(1, FERPLUS))]
    path = tmp_path / f"readings.{kind}"
    write(path, kind, rows, FERPLUS)
    assert list(read_back(path)[0]["probabilities"]) == list(FERPLUS)
    assert read_back(path) == told_flat(rows, kind)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@pytest.mark.parametrize("kind", FORMATS)
@given(sources=st.lists(names, min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_any_name_of_a_file_survives(tmp_path_factory: pytest.TempPathFactory, kind: str, sources: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / f"names.{kind}"
    write(path, kind, [to_row(source, 0, reading()) for source in sources])
    assert [row["source"] for row in read_back(path)] == sources


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["x\ry.jpg", "x\ny.jpg", "x\r\ny.jpg", 'x",y.jpg'])
def test_ends_of_lines_in_a_name_are_no_ends_of_rows(tmp_path: Path, kind: str, name: str) -> None:
    source = name
    path = tmp_path / os.fsdecode(b"caf\xe9") / f"readings.{kind}"
    write(path, kind, [{**row, "source": source} for row in rows_of(2)])
    path = path.replace(tmp_path / f"moved.{kind}")  # as pyarrow reads no name that is not UTF-8
    assert [row["source"] for row in read_back(path)] == [source] * 2
    assert kind != "csv" or not path.read_bytes().endswith(b"\r\n")


@pytest.mark.parametrize("kind", FORMATS)
def test_names_that_are_not_utf_8_are_told_by_their_bytes(tmp_path: Path, kind: str) -> None:
    source = os.fsdecode(b"caf\xe9/caf\xc3\xa9.jpg")
    path = tmp_path / f"readings.{kind}"
    write(path, kind, [to_row(source, 0, reading())])
    assert read_back(path)[0]["source"] == "caf\\xe9/café.jpg"


def test_a_json_line_is_one_line_of_utf_8() -> None:
    file = io.StringIO()
    with open_sink(file, "jsonl", FER2013) as sink:
        sink.write(rows_of(2, "two\nlines, «été».jpg"))
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    assert "«été»" in lines[0]


def test_csv_has_a_header_even_without_a_face() -> None:
    file = io.StringIO()
    with open_sink(file, "csv", FER2013):
        pass
    (header,) = file.getvalue().splitlines()
    assert header.split(",") == [
        *KEYS[:5],
        "box_x0",
        "box_y0",
        "box_x1",
        "box_y1",
        *KEYS[6:9],
        "mixture",
        *(f"p_{label}" for label in FER2013),
    ]


def test_parquet_keeps_its_types_and_gathers_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "readings.parquet"
    write(path, "parquet", rows_of(40), at_once=1)
    file = pq.ParquetFile(path)
    kinds = {name: str(kind) for name, kind in zip(file.schema_arrow.names, file.schema_arrow.types, strict=True)}
    assert {kinds[name] for name in ("source", "expression", "mixture")} == {"string"}
    assert {kinds[name] for name in ("frame", "face", "track")} == {"int64"}
    assert {kinds[name] for name in ("time_s", "box_x0", "confidence", "p_happy")} == {"double"}
    assert file.metadata.num_row_groups == 1
    monkeypatch.setattr(ParquetSink, "GROUP", 15)
    write(path, "parquet", rows_of(40), at_once=1)
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert read_back(path) == told_flat(rows_of(40), "parquet")


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_appears_and_nothing_is_lost_when_the_block_fails(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"readings.{kind}"

    def fail() -> None:
        with open_sink(path, kind, FER2013) as sink:
            sink.write(rows_of(3))
            raise KeyError("halfway")

    with pytest.raises(KeyError, match="halfway"):
        fail()
    assert list(tmp_path.iterdir()) == []
    write(path, kind, rows_of(2))
    with pytest.raises(KeyError, match="halfway"):
        fail()
    assert read_back(path) == told_flat(rows_of(2), kind)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "readings", tmp_path):
        with pytest.raises(OutputError), open_sink(target, kind, FER2013) as sink:
            sink.write(rows_of(1))
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_is_told(kind: str) -> None:
    with (
        pytest.raises(OutputError, match="No space left on device"),
        open_sink(Path("/dev/full"), kind, FER2013) as sink,
    ):
        sink.write(rows_of(1))
    assert Path("/dev/full").is_char_device()


def test_an_unknown_format_and_parquet_to_an_open_file_are_refused(tmp_path: Path) -> None:
    targets: list[tuple[Path | io.StringIO, str]] = [
        (tmp_path / "a.xml", "xml"), (io.StringIO(), "xml"), (io.StringIO(), "parquet"),
    ]  # fmt: skip
    for target, kind in targets:
        with pytest.raises(InputError, match="cannot be written"), open_sink(target, kind, FER2013):
            pass
    assert list(tmp_path.iterdir()) == []
