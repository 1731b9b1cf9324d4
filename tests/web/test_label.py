"""The page's server: who may ask, what it keeps, that it is blind, and what it says when something is not as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from tests.web.conftest import FACE_BOX, MakeSet, serving

from mien.cli.main import main
from mien.data.annotate import ANSWERS, LabelStore
from mien.data.faceset import FaceSet, stamp_of
from mien.data.queue import shuffled
from mien.errors import DataError, InputError
from mien.labels import FER2013
from mien.media import read_image, write_image
from mien.spec import CropSpec
from mien.web.access import LOOPBACK_NAMES, check_token, is_loopback, make_token
from mien.web.context import draw_context, read_context
from mien.web.label import create_app
from mien.web.static_files import STATIC

TOKEN = "correct-horse-battery"
Order = Callable[[Sequence[str], str], list[str]]


def client_of(
    faceset: FaceSet,
    *,
    order: Order = shuffled,
    token: str | None = None,
    names: frozenset[str] | None = LOOPBACK_NAMES,
    address: str = "http://127.0.0.1:8765",
) -> TestClient:
    app = create_app(faceset, LabelStore(faceset.folder), ["anna", "ben"], order=order, token=token, names=names)
    return TestClient(app, base_url=address, raise_server_exceptions=False, follow_redirects=False)


def state_of(client: TestClient, name: str = "anna") -> dict[str, Any]:
    response = client.get(f"/label/{name}/state")
    assert response.status_code == 200
    state: dict[str, Any] = response.json()
    return state


def post(client: TestClient, face: str, answer: str | None = "happy", *, name: str = "anna", **more: str) -> Any:
    step = {"id": f"id-{face}", "set": state_of(client)["set"], "face": face, "kind": "answer", **more}
    return client.post(f"/label/{name}/steps", json=step if answer is None else {**step, "answer": answer})


# ---- Answers


def test_an_answer_is_in_the_file_when_the_page_is_told_so_and_the_face_is_done(make_set: MakeSet) -> None:
    faceset = make_set(5)
    client = client_of(faceset)
    before = state_of(client)
    assert (len(before["todo"]), before["answered"]) == (5, [])
    face = before["todo"][0]
    assert post(client, face, "sad", second="fear").status_code == 200
    (kept,) = LabelStore(faceset.folder).answers()
    assert (kept.annotator, kept.face, kept.answer, kept.second) == ("anna", face, "sad", "fear")
    after = state_of(client)
    assert (after["todo"], after["answered"]) == (before["todo"][1:], [face])


def test_what_is_sent_again_counts_once(make_set: MakeSet) -> None:
    faceset = make_set(3)
    client = client_of(faceset)
    first, second = state_of(client)["todo"][:2]
    for _ in range(2):
        assert post(client, first).status_code == 200
    assert post(client, second).status_code == 200
    for _ in range(2):
        assert post(client, second, None, id="undo-1", kind="undo").status_code == 200
    assert post(client, second).status_code == 200  # its first sending, late: withdrawn it stays
    assert state_of(client)["answered"] == [first]
    with closing(sqlite3.connect(LabelStore(faceset.folder).path)) as database:
        assert database.execute("select count(*) from answers").fetchone() == (2,)


def test_two_people_and_two_servers_work_on_one_folder_at_once(make_set: MakeSet) -> None:
    faceset = make_set(4)
    one, other = client_of(faceset), client_of(faceset)
    face = state_of(one)["todo"][0]
    assert post(one, face, "happy").status_code == post(other, face, "fear", name="ben").status_code == 200
    assert {(each.annotator, each.answer) for each in LabelStore(faceset.folder).answers()} == {
        ("anna", "happy"),
        ("ben", "fear"),
    }
    assert len(state_of(other)["todo"]) == 3  # what anna gave to the one server, the other knows


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": "joy"}, {"answer": ""}, {"answer": None}, {"answer": "none", "second": "sad"},
        {"answer": "happy", "second": "happy"}, {"kind": "delete"}, {"extra": "1"}, {"id": ""}, {"face": 3},
    ],
)  # fmt: skip
def test_a_wrong_answer_is_refused_plainly(make_set: MakeSet, wrong: dict[str, Any]) -> None:
    client = client_of(make_set(3))
    state = state_of(client)
    step = {"id": "1", "set": state["set"], "face": state["todo"][0], "kind": "answer", "answer": "happy", **wrong}
    response = client.post("/label/anna/steps", json=step)
    assert response.status_code == 422
    assert response.headers["content-type"].startswith("text/plain")
    assert state_of(client)["answered"] == []


def test_no_json_at_all_is_refused(make_set: MakeSet) -> None:
    client = client_of(make_set(3))
    sent = client.post("/label/anna/steps", content=b"{", headers={"content-type": "application/json"})
    assert sent.status_code == 422


def test_an_answer_meant_for_another_set_is_not_taken(make_set: MakeSet) -> None:
    client = client_of(make_set(3))
    response = post(client, state_of(client)["todo"][0], set="another")
    assert response.status_code == 409
    assert state_of(client)["answered"] == []


def test_a_face_removed_since_is_gone_and_the_rest_goes_on(make_set: MakeSet) -> None:
    faceset = make_set(4)
    client = client_of(faceset)
    first, second, third, _ = state_of(client)["todo"]
    post(client, first)
    FaceSet(faceset.folder).mark_copies([(first, "another"), (second, "another")])
    assert post(client, second).status_code == 410
    assert client.get(f"/faces/{second}.jpg").status_code == 410
    state = state_of(client)
    assert (state["answered"], len(state["todo"])) == ([], 2)
    assert post(client, third).status_code == 200


def test_new_faces_come_in_without_repeating_what_is_answered(make_set: MakeSet) -> None:
    faceset = make_set(10)
    client = client_of(faceset)
    before = state_of(client)["todo"]
    for face in before[:3]:
        post(client, face)
    make_set(6, first=20)
    state = state_of(client)
    assert state["answered"] == before[:3]
    assert [face for face in state["todo"] if face in before] == before[3:]
    assert len(state["todo"]) == 7 + 6


def test_a_full_disk_is_told_and_nothing_is_claimed(make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    faceset = make_set(3)
    client = client_of(faceset)
    face = state_of(client)["todo"][0]
    connect = sqlite3.connect

    def full(path: Path, **options: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(path, **options)
        if Path(path).name == "labels.sqlite":
            database.execute("pragma max_page_count = 1")
        return database

    monkeypatch.setattr(sqlite3, "connect", full)
    response = post(client, face)
    assert response.status_code == 507
    assert "make room" in response.text
    monkeypatch.undo()
    assert state_of(client)["answered"] == []
    assert post(client, face).status_code == 200


def test_a_set_that_vanishes_is_told(make_set: MakeSet) -> None:
    faceset = make_set(3)
    client = client_of(faceset)
    face = state_of(client)["todo"][0]
    faceset.folder.rename(faceset.folder.with_name("moved"))
    response = client.get(f"/faces/{face}.jpg")
    assert response.status_code == 503
    assert "put it back" in response.text


# ---- Blindness and order


def test_annotators_have_orders_of_their_own_that_stay(make_set: MakeSet) -> None:
    faceset = make_set(12)
    anna, ben = (state_of(client_of(faceset), name)["todo"] for name in ("anna", "ben"))
    assert anna != ben
    assert sorted(anna) == sorted(ben)
    assert anna == state_of(client_of(FaceSet(faceset.folder)))["todo"]


def test_nothing_tells_what_others_said_or_where_faces_are_from(make_set: MakeSet) -> None:
    faceset = make_set(4)
    client = client_of(faceset)
    face = state_of(client)["todo"][0]

    def everything() -> list[tuple[int, bytes]]:
        paths = ["/", "/label/ben", "/label/ben/state", f"/faces/{face}.jpg", f"/context/{face}.jpg"]
        paths += [f"/static/{path.name}" for path in STATIC.iterdir()]
        return [(response.status_code, response.content) for response in map(client.get, paths)]

    before = everything()
    post(client, face, "disgust", second="fear")
    assert everything() == before
    told = json.dumps(state_of(client, "ben"))
    assert "happy" not in told  # part of the files' names
    assert set(json.loads(told)) == {"annotator", "set", "answered", "todo"}


def test_the_order_that_a_model_gave_is_followed_and_not_explained(make_set: MakeSet) -> None:
    faceset = make_set(6)
    plain = state_of(client_of(faceset))
    led = state_of(client_of(faceset, order=lambda keys, _annotator: sorted(keys, reverse=True)))
    assert led["todo"] == sorted(plain["todo"], reverse=True)
    assert led.keys() == plain.keys()


def test_the_buttons_are_the_answers() -> None:
    page = (STATIC / "label.html").read_text(encoding="utf-8")
    assert [part.partition('"')[0] for part in page.split('data-answer="')[1:]] == list(ANSWERS)
    script = (STATIC / "label.js").read_text(encoding="utf-8")
    assert f"const EXPRESSIONS = {json.dumps(list(FER2013))};" in script


def test_the_pages_ask_nobody_else_for_anything() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
        assert not any(inline in text for inline in ("style=", "onclick", "<style", "<script>"))


# ---- Who may ask


def test_only_the_annotators_that_were_named_exist(make_set: MakeSet) -> None:
    client = client_of(make_set(3))
    face = state_of(client)["todo"][0]
    assert client.get("/label/cleo").status_code == client.get("/label/cleo/state").status_code == 404
    assert post(client, face, name="cleo").status_code == 404
    index = client.get("/").text
    assert 'href="/label/anna"' in index
    assert 'href="/label/ben"' in index


def test_only_faces_of_the_set_can_be_asked_for(make_set: MakeSet) -> None:
    faceset = make_set(3)
    client = client_of(faceset)
    assert client.get(f"/faces/{state_of(client)['todo'][0]}.jpg").headers["content-type"] == "image/jpeg"
    (faceset.folder / "faces" / "secret.jpg").write_bytes(b"x")
    for path in ("faces/secret.jpg", "faces/..%2Fset.sqlite.jpg", "context/secret.jpg", "static/..%2Flabel.py",
                 "static/label.html", "openapi.json", "docs", f"faces/{3:016x}.jpg"):  # fmt: skip
        assert client.get(f"/{path}").status_code in (404, 410), path


def test_a_name_pointed_here_from_elsewhere_is_not_served(make_set: MakeSet) -> None:
    client = client_of(make_set(3))
    for host in ("127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765"):
        assert client.get("/", headers={"host": host}).status_code == 200
    for host in ("evil.example:8765", "127.0.0.1.evil.example", "", "[", "192.168.1.5:8765"):
        assert client.get("/", headers={"host": host}).status_code == 421


def test_other_sites_cannot_answer(make_set: MakeSet) -> None:
    client = client_of(make_set(3))
    state = state_of(client)
    step = json.dumps({"id": "1", "set": state["set"], "face": state["todo"][0], "kind": "answer", "answer": "sad"})
    json_type = {"content-type": "application/json"}

    def send(headers: dict[str, str], content: bytes = step.encode()) -> int:
        return client.post("/label/anna/steps", content=content, headers=headers).status_code

    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:8765"):
        assert send({**json_type, "origin": origin}) == 403
    assert send({**json_type, "sec-fetch-site": "cross-site"}) == 403
    assert send({"content-type": "text/plain"}) == send({"content-type": "application/x-www-form-urlencoded"}) == 415
    assert send(json_type, step.encode() + b" " * 5000) == 413
    assert state_of(client)["answered"] == []
    assert send({**json_type, "origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}) == 200


def test_every_response_carries_the_headers_that_keep_faces_and_pages_apart(make_set: MakeSet) -> None:
    client = client_of(make_set(3), token=TOKEN)
    refused = client.get("/")
    client.get(f"/?token={TOKEN}")
    face = state_of(client)["todo"][0]
    for response in (refused, client.get("/"), client.get(f"/faces/{face}.jpg"), client.get("/nothing")):
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"


def test_without_the_token_nothing_is_served_and_with_it_a_cookie_opens_all(make_set: MakeSet) -> None:
    client = client_of(make_set(3), token=TOKEN, names=None, address="http://192.168.1.5:8765")
    for path in ("/", "/label/anna", "/label/anna/state", "/static/label.js", f"/faces/{0:016x}.jpg", "/?token=wrong",
                 "/?token=", "/?token=%ff", "/nothing"):  # fmt: skip
        assert client.get(path).status_code == 401, path
    assert client.post("/label/anna/steps", json={}).status_code == 401
    opened = client.get(f"/label/anna?token={TOKEN}&x=1")
    assert (opened.status_code, opened.headers["location"]) == (303, "/label/anna?x=1")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert len(state_of(client)["todo"]) == 3
    client.cookies.clear()
    assert client.get("/", headers={"cookie": "mien_token_8765=wrong"}).status_code == 401


def test_the_token_leads_to_no_other_site(make_set: MakeSet) -> None:
    client = client_of(make_set(3), token=TOKEN)
    opened = client.get(f"http://127.0.0.1:8765//evil.example/?token={TOKEN}")
    assert opened.headers["location"] == "/evil.example/"
    linked = client.get(f"/?token={TOKEN}", headers={"sec-fetch-site": "cross-site"})  # a link in a mail on the web
    assert (linked.status_code, 'content="0;url=/"' in linked.text) == (200, True)


def test_tokens_are_long_and_pass_through_an_address() -> None:
    assert check_token(make_token()) != make_token()
    for token in ("", "short", "with space in it", "naïve-naïve-naïve", "a;b;c;d;e;f;g;h"):
        with pytest.raises(InputError):
            check_token(token)


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org", "")))


# ---- The whole picture


def test_the_whole_picture_is_small_enough_and_has_a_box(make_set: MakeSet) -> None:
    client = client_of(make_set(3))
    response = client.get(f"/context/{state_of(client)['todo'][0]}.jpg")
    assert response.status_code == 200
    picture = read_image(response.content)
    assert max(picture.shape) <= 1280
    x0, y0, x1, _ = map(int, FACE_BOX)
    assert picture[y0, x0 + 10 : x1 - 10].mean() > 200  # the box's upper edge, white


def test_a_large_picture_is_made_smaller_with_its_box() -> None:
    drawn = draw_context(np.full((3000, 2000, 3), 128, np.uint8), (1000.0, 1000.0, 2400.0, 2000.0))
    assert drawn.shape == (1280, 853, 3)
    assert (drawn.min(), drawn.max()) == (0, 255)


@pytest.mark.parametrize("harm", ["gone", "changed", "damaged"])
def test_a_picture_that_is_gone_or_changed_is_told_without_its_name(make_set: MakeSet, harm: str) -> None:
    faceset = make_set(3)
    client = client_of(faceset)
    (row,) = [face for face in faceset.faces() if face.key == state_of(client)["todo"][0]]
    found = row.path.stat()
    if harm == "gone":
        row.path.unlink()
    elif harm == "changed":
        write_image(row.path, np.zeros((50, 50, 3), np.uint8))
    else:
        row.path.write_bytes(b"x" * found.st_size)
        os.utime(row.path, ns=(found.st_atime_ns, found.st_mtime_ns))
    response = client.get(f"/context/{row.key}.jpg")
    assert response.status_code == 404
    assert response.text.startswith("The picture that this face is from")
    assert "happy" not in response.text
    assert client.get(f"/faces/{row.key}.jpg").status_code == 200


def test_of_a_video_the_frame_is_shown_that_the_face_is_in(tmp_path: Path, make_set: MakeSet) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for light in range(0, 200, 20):  # dark at first, then ever lighter
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), light, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    face = replace(make_set(1).faces()[0], path=path, time_s=1.0)
    shown = read_context(face, stamp_of(path))
    assert shown.shape == (96, 128, 3)
    assert abs(float(shown.mean()) - 100) < 12
    path.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="cannot be read any more"):
        read_context(face, stamp_of(path))


# ---- The command


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs `mien data label`, which must refuse, and gives the one line that says why."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["mien", "data", "label", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert (left.value.code, said.out) == (2, "")
        assert len(said.err.splitlines()) == 1
        return said.err

    return run


Refused = Callable[..., str]


def test_what_cannot_be_labelled_is_one_line(make_set: MakeSet, refused: Refused, tmp_path: Path) -> None:
    assert "no set of faces there" in refused(tmp_path, "--annotator", "anna")
    faceset = make_set(1)
    assert "letters" in refused(faceset.folder, "--annotator", "a/b")
    assert "token" in refused(faceset.folder, "--annotator", "anna", "--token", "short")
    assert "--host" in refused(faceset.folder, "--annotator", "anna", "--host", "nowhere.invalid")
    faceset.mark_copies([(face.key, "another") for face in faceset.faces()])
    assert "no face of the set is kept" in refused(faceset.folder, "--annotator", "anna")
    (faceset.folder / "labels.sqlite").write_bytes(b"damaged" * 1000)
    assert "labels.sqlite" in refused(faceset.folder, "--annotator", "anna")


def test_a_taken_port_is_named(make_set: MakeSet, refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(make_set(1).folder, "--annotator", "anna", "--port", str(port))
    assert str(port) in told
    assert "--port" in told


def test_without_the_extra_it_says_how_to_get_it(
    make_set: MakeSet, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "extra [serve]" in refused(make_set(1).folder, "--annotator", "anna")


def test_a_model_that_reads_other_crops_cannot_suggest(
    make_set: MakeSet, refused: Refused, make_model: Callable[..., Path]
) -> None:
    faceset = make_set(1, crop=CropSpec(size_px=64))
    told = refused(faceset.folder, "--annotator", "anna", "--port", "0", "--suggest", "--model", make_model())
    assert "48" in told
    assert "64" in told


def test_a_kill_after_an_answer_loses_nothing_and_the_work_goes_on(make_set: MakeSet) -> None:
    faceset = make_set(4)
    with serving(faceset.folder, "--annotator", "anna") as served, httpx2.Client(base_url=served.address) as client:
        state = client.get("label/anna/state").json()
        face = state["todo"][0]
        step = {"id": "1", "set": state["set"], "face": face, "kind": "answer", "answer": "fear"}
        assert client.post("label/anna/steps", json=step).status_code == 200
        served.process.kill()
        served.process.wait()
    assert [(each.face, each.answer) for each in LabelStore(faceset.folder).answers()] == [(face, "fear")]
    with serving(faceset.folder, "--annotator", "anna") as served, httpx2.Client(base_url=served.address) as client:
        again = client.get("label/anna/state").json()
        assert (again["answered"], again["todo"]) == ([face], state["todo"][1:])
        step = {"id": "2", "set": state["set"], "face": again["todo"][0], "kind": "answer", "answer": "sad"}
        assert client.post("label/anna/steps", json=step).status_code == 200
        told = served.stop()
        assert served.process.returncode == 0
    assert "anna: 2 answers (+1); of 4 faces" in told
    assert "Traceback" not in told


def test_another_host_than_this_machine_needs_the_token_that_is_printed(make_set: MakeSet) -> None:
    faceset = make_set(3)
    with serving(faceset.folder, "--annotator", "anna", "--host", "0.0.0.0") as served:
        port = served.address.split(":")[2].split("/")[0]
        token = served.address.partition("?token=")[2]
        assert len(token) >= 32
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as client:
            assert client.get("/").status_code == 401
            assert "anna" in client.get(f"/?token={token}").text
            assert client.get("/label/anna/state").status_code == 200
        served.process.send_signal(signal.SIGTERM)
        assert "anna: 0 answers (+0)" in served.process.communicate(timeout=20)[1]
        assert served.process.returncode == 0


def test_suggest_orders_by_doubt_and_tells_nothing(make_set: MakeSet, make_model: Callable[..., Path]) -> None:
    faceset = make_set(8)
    arguments = ("--annotator", "anna", "--suggest", "--model", str(make_model()))
    with serving(faceset.folder, *arguments) as served, httpx2.Client(base_url=served.address) as client:
        state = client.get("label/anna/state").json()
        make_set(3, first=20)
        later = client.get("label/anna/state").json()
    assert sorted(state["todo"]) == [f"{index:016x}" for index in range(8)]
    assert state["todo"] != shuffled(state["todo"], "anna")
    assert set(later["todo"][:8]) == set(state["todo"])  # new ones at the end
    assert state.keys() == {"annotator", "set", "answered", "todo"}


def test_a_set_that_cannot_be_written_is_told_at_once(make_set: MakeSet, refused: Refused) -> None:
    faceset = make_set(1)
    faceset.folder.chmod(0o500)
    try:
        if os.access(faceset.folder, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert "read-only" in refused(faceset.folder, "--annotator", "anna")
    finally:
        faceset.folder.chmod(0o700)
        shutil.rmtree(faceset.folder)
