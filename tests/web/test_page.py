"""The page of `mien serve` in a real browser: pictures, a video and a camera, by keys, on a phone, in the dark."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Download, Page, Route, expect
from tests.web.browsing import NEEDS_CHROMIUM, SMALL_PHONE, chromium, served_here, take_picture
from tests.web.conftest import until

from mien.classify import Classifier
from mien.client import Client
from mien.media import encode_jpeg, read_image
from mien.video import frames
from mien.web.access import LOOPBACK_NAMES
from mien.web.api import create_api
from mien.web.limits import Limits
from mien.web.pictures import PictureReader

FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ERRORS: list[str] = []  # of the page's scripts, and what its content security policy forbade
pytestmark = NEEDS_CHROMIUM
MakeVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def browser(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return the system's Chromium, without a window; its camera sees the portrait."""
    camera = tmp_path_factory.mktemp("camera") / "portrait.mjpeg"
    camera.write_bytes(encode_jpeg(read_image(portrait)[:320, 64:448], quality=90) * 4)
    with chromium(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={camera}") as started:
        yield started


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return where the page is served, from within this process."""
    limits = Limits()
    reader = PictureReader(
        Classifier.load("mien"), detector="dlib", min_face_px=None, workers=1, max_pixels=limits.max_pixels
    )
    app = create_api(reader, limits=limits, names=LOOPBACK_NAMES)
    with served_here(uvicorn.Config(app, log_config=None, ws="websockets-sansio")) as served:
        yield served


@pytest.fixture(scope="module")
def smile(address: str, portrait: Path) -> str:
    """Return what the page is to say of the portrait, by what the service answers a client."""
    (read,) = Client(address).recognize([portrait])
    (face,) = read["faces"]
    assert face["expression"] == "happy"
    assert face["confidence"] > 0.9
    return in_words(face)


@pytest.fixture(autouse=True)
def no_error_in_the_scripts() -> Iterator[None]:
    """Let a test fail where the page's own scripts did."""
    ERRORS.clear()
    yield
    assert ERRORS == []


@pytest.fixture
def make_video(portrait: Path, tmp_path: Path) -> MakeVideo:
    """Return a function that writes a video of a second in which the portrait moves."""
    import av

    def make(name: str, codec: str) -> Path:
        image_rgb = read_image(portrait)[40:296, 96:352]
        with av.open(str(tmp_path / name), "w") as container:
            stream = cast("av.VideoStream", container.add_stream(codec, rate=10))
            stream.width = stream.height = 256
            stream.pix_fmt = "yuv420p"
            for number in range(10):
                moved = np.ascontiguousarray(np.roll(image_rgb, 3 * number, axis=1))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
            container.mux(stream.encode())
        return tmp_path / name

    return make


def opened(browser: Browser, address: str, **options: object) -> Page:
    """Return the page in a browser of its own."""
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: ERRORS.append(str(error)))
    page.on("console", lambda said: ERRORS.append(said.text) if "Security Policy" in said.text else None)
    page.goto(address)
    return page


def in_words(face: dict[str, Any]) -> str:
    """Return a face's expression with its percent, rounded as JavaScript does."""
    return f"{face['expression']} {math.floor(100 * face['confidence'] + 0.5)}%"


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page where one asks for it."""
    take_picture(page, f"page-{name}", full_page=True)


def saved(page: Page, button: str) -> Download:
    """Return the file that a button gives."""
    with page.expect_download() as given:
        page.locator(button).click()
    return given.value


def drop(page: Page, *files: tuple[str, bytes], how: str = "drop") -> None:
    """Drop files onto the page, or paste them."""
    page.evaluate(
        """([how, files]) => {
            const data = new DataTransfer();
            for (const [name, bytes] of files) {
                data.items.add(new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], name));
            }
            const event = how === "paste" ? new ClipboardEvent(how, {clipboardData: data, bubbles: true})
              : new DragEvent(how, {dataTransfer: data, bubbles: true, cancelable: true});
            document.body.dispatchEvent(event);
        }""",
        [how, [[name, base64.b64encode(data).decode()] for name, data in files]],
    )


def painted(page: Page, canvas: str) -> int:
    """Return how many pixels of a canvas are not empty."""
    return int(
        page.evaluate(
            """(name) => {
                const canvas = document.querySelector(name);
                const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return data.filter((value, index) => index % 4 === 3 && value > 0).length;
            }""",
            canvas,
        )
    )


def test_dropped_pictures_are_read_shown_and_saved(browser: Browser, address: str, portrait: Path, smile: str) -> None:
    page = opened(browser, address, viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    drop(page, ("a, face.jpg", portrait.read_bytes()), ("broken.jpg", b"nothing"))
    expect(page.locator("#pictures-title")).to_be_focused()
    good, broken = page.locator("#cards > article").all()
    expect(good.locator(".words")).to_have_text([smile])
    expect(good.locator(".bars dt")).to_have_text(["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"])
    expect(good.get_by_role("img")).to_have_attribute("alt", f"a, face.jpg: face 1 {smile}")
    until(lambda: painted(page, "#cards article canvas") > 300)
    expect(broken.locator(".notice")).to_contain_text("not a picture")
    expect(page.locator("#say")).to_have_text("2 pictures read: 1 face.")
    drop(page, ("pasted.jpg", portrait.read_bytes()), how="paste")
    expect(page.locator("#say")).to_have_text("3 pictures read: 2 faces.")
    picture(page, "pictures")
    with saved(page, "#pictures-csv").path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["source"], row["mixture"]) for row in rows] == [("a, face.jpg", "happy"), ("pasted.jpg", "happy")]
    assert float(rows[0]["p_happy"]) == float(rows[0]["confidence"]) > 0.9
    content = json.loads(saved(page, "#pictures-json").path().read_text("utf-8"))
    assert [each["error"] is None for each in content["pictures"]] == [True, False, True]
    drawn = read_image(saved(page, "#cards button >> nth=0").path())
    plain = read_image(portrait)
    assert drawn.shape == plain.shape
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.1  # a box and its label
    page.locator("#pictures-close").click()
    expect(page.locator("#pictures")).to_be_hidden()
    expect(page.locator("#choose")).to_be_focused()
    assert all(url.startswith((address, "blob:" + address)) for url in asked)


def test_a_video_is_read_moved_through_by_keys_saved_and_deleted(
    browser: Browser, address: str, make_video: MakeVideo
) -> None:
    page = opened(browser, address, viewport={"width": 1280, "height": 900}, color_scheme="dark")
    clip = make_video("clip.mp4", "h264")
    rows = Client(address).video(clip).rows
    assert rows[-1]["expression"] == "happy"
    page.locator("#files").set_input_files(clip)
    expect(page.locator("#video-title")).to_have_text("clip.mp4")
    jobs: list[str] = []
    page.on("response", lambda answer: jobs.append(answer.headers["location"]) if answer.status == 202 else None)
    page.locator("#video-read").press("Enter")
    expect(page.locator("#summary tbody th")).to_have_text(["person 1"])
    slider = page.get_by_role("slider")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", f"0:00 of 0:01: person 1 {in_words(rows[-1])}")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0.00")
    until(lambda: painted(page, "#clip-boxes") > 300 and painted(page, "#clip-time .lane canvas") > 10_000)
    expect(page.locator("#clip-people .words")).to_contain_text("happy")
    picture(page, "video-dark")
    names = {}
    for title in ("CSV", "JSON lines", "Parquet", "Timeline (PNG)", "Video with boxes (MP4)", "Summary (CSV)"):
        given = saved(page, f"#video-files >> text='{title}'")
        names[given.suggested_filename] = given.path()
    assert list(names) == [
        "clip.csv", "clip.jsonl", "clip.parquet", "clip-timeline.png", "clip-mien.mp4", "clip-summary.csv",
    ]  # fmt: skip
    assert len(names["clip.jsonl"].read_text("utf-8").splitlines()) == 10
    assert len(list(frames(names["clip-mien.mp4"]))) == 10
    assert names["clip-summary.csv"].read_text("utf-8").startswith("track,seen_s,first_s,last_s,changes,unsure,")
    page.locator("#video-close").click()
    (job,) = jobs
    until(lambda: page.request.get(address + job.lstrip("/")).status == 404)
    expect(page.locator("#choose")).to_be_focused()


def test_while_a_video_plays_the_slider_tells_the_time_once_a_second(
    browser: Browser, address: str, make_video: MakeVideo
) -> None:
    page = opened(browser, address)
    page.locator("#files").set_input_files(make_video("clip.mp4", "h264"))
    page.locator("#video-read").click()
    expect(page.locator("#summary tbody th")).to_have_text(["person 1"])
    told = page.evaluate(
        """() => new Promise((done) => {
            const clip = document.querySelector("#clip");
            const told = [];
            new MutationObserver((changes) => told.push(...changes))
              .observe(document.querySelector("[role=slider]"), {attributeFilter: ["aria-valuetext"]});
            clip.addEventListener("ended", () => setTimeout(() => done(told.length), 100));
            clip.muted = true;
            clip.play();
        })"""
    )
    assert 1 <= told <= 3  # the video lasts a second; its end is told too
    assert float(page.get_by_role("slider").get_attribute("aria-valuenow") or 0) > 0.8


def test_a_video_that_is_cancelled_while_its_job_is_told_is_deleted(
    browser: Browser, address: str, make_video: MakeVideo
) -> None:
    page = opened(browser, address)
    page.locator("#files").set_input_files(make_video("clip.mp4", "h264"))
    page.evaluate(
        """() => {
            const told = Response.prototype.json;
            Response.prototype.json = function () {
                document.querySelector("#video-cancel").click();
                return told.call(this);
            };
        }"""
    )
    with page.expect_request(lambda request: request.method == "DELETE") as deleting:
        page.locator("#video-read").click()
    until(lambda: page.request.get(deleting.value.url).status == 404)
    expect(page.locator("#video-read")).to_be_visible()


def test_of_a_video_that_the_browser_cannot_play_the_servers_copy_is_shown(
    browser: Browser, address: str, make_video: MakeVideo
) -> None:
    page = opened(browser, address)
    page.locator("#files").set_input_files(make_video("old.avi", "mpeg4"))
    expect(page.locator("#clip-words")).to_contain_text("cannot play this file")
    page.locator("#every").select_option("0.2")
    page.locator("#video-read").click()
    expect(page.locator("#summary tbody th")).to_have_text(["person 1"])
    until(lambda: bool(page.evaluate("document.querySelector('#clip').videoWidth === 256")))
    assert page.locator("#clip").get_attribute("src").endswith("/annotated.mp4")  # type: ignore[union-attr]
    page.locator("#files").set_input_files({"name": "no.mp4", "mimeType": "video/mp4", "buffer": b"no video"})
    page.locator("#video-read").click()
    expect(page.locator("#notice")).to_contain_text("video")
    expect(page.locator("#video-read")).to_be_visible()  # to try again


def test_a_camera_is_read_live_and_what_it_showed_is_saved(browser: Browser, address: str) -> None:
    page = opened(browser, address, viewport={"width": 1280, "height": 900})
    page.locator("#camera-on").press("Enter")
    expect(page.locator("#live-people h3")).to_have_text(["person 1"])
    expect(page.locator("#live-people .words")).to_contain_text("happy")
    expect(page.locator("#speed")).to_contain_text("frames a second")
    expect(page.locator("#say")).to_have_text("person 1 happy")
    expect(page.locator("#mirror")).to_have_attribute("aria-pressed", "true")
    until(lambda: painted(page, "#live-boxes") > 300 and painted(page, "#live-time .lane canvas") > 500)
    picture(page, "camera")
    assert saved(page, "#snapshot").suggested_filename.endswith(".png")
    page.get_by_role("button", name="Record a video").click()
    expect(page.locator("#record")).to_have_text("Stop recording (0:00)")
    expect(page.get_by_role("button", name="Stop recording", exact=True)).to_be_visible()
    assert page.locator("#record").get_attribute("aria-pressed") is None
    page.wait_for_timeout(700)
    assert len(list(frames(saved(page, "#record").path()))) > 3
    page.locator("#camera-on").click()
    expect(page.locator("#speed")).to_have_text("The camera is off.")
    with saved(page, "#camera-csv").path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 5
    assert {row["track"] for row in rows} == {"1"}
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)
    page.locator("#camera-close").click()
    expect(page.locator("#camera")).to_be_hidden()


def test_people_of_a_new_connection_are_not_taken_for_those_before(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    page.evaluate(
        """() => {
            const Real = WebSocket;
            WebSocket = class extends Real { constructor(...given) { super(...given); window.line = this; } };
        }"""
    )
    page.locator("#camera-on").click()
    expect(page.locator("#live-people h3")).to_have_text(["person 1"])
    page.evaluate("line.close()")
    expect(page.locator("#live-people h3")).to_have_text(["person 2"])
    with saved(page, "#camera-csv").path().open(encoding="utf-8", newline="") as file:
        assert {row["track"] for row in csv.DictReader(file)} == {"1", "2"}
    page.locator("#camera-close").click()
    page.locator("#camera-on").click()
    expect(page.locator("#live-people h3")).to_have_text(["person 1"])


def test_what_scrolls_takes_the_keyboard_and_what_is_told_aloud_has_its_place(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    page.locator("#camera-on").click()
    people = page.get_by_role("region", name="What each face shows")
    people.focus()
    expect(people).to_be_focused()
    expect(page.locator("#notice")).to_have_text("")
    expect(page.locator("#notice")).not_to_have_css("display", "none")


def test_where_there_is_no_camera_the_page_says_why(browser: Browser, address: str) -> None:
    page = opened(browser, address)
    refusal = "void (MediaDevices.prototype.getUserMedia = async () => { throw new DOMException('', 'Name'); })"
    for script, told in (
        (refusal.replace("Name", "NotFoundError"), "No camera was found"),
        (refusal.replace("Name", "NotAllowedError"), "does not allow this page the camera"),
        (refusal.replace("Name", "NotReadableError"), "another program may be using it"),
        ("Object.defineProperty(window, 'isSecureContext', {value: false});"
         "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})", "only to pages that come over https"),
    ):  # fmt: skip
        page.evaluate(script)
        page.locator("#camera-on").click()
        expect(page.locator("#notice")).to_contain_text(told)
        expect(page.locator("#camera")).to_be_hidden()
        expect(page.locator("#camera-on")).to_have_text("Switch the camera on")


def test_a_busy_server_is_asked_again_and_a_lost_one_is_told(
    browser: Browser, address: str, portrait: Path, smile: str
) -> None:
    page = opened(browser, address)
    refusals: list[str] = []

    def refuse_once(route: Route) -> None:
        if refusals:
            route.continue_()
            return
        refusals.append(route.request.url)
        problem = {"title": "Too many", "status": 429, "detail": "Too many at once."}
        route.fulfill(status=429, json=problem, headers={"Retry-After": "1"})

    page.route("**/v1/recognize", refuse_once)
    page.locator("#files").set_input_files(portrait)
    expect(page.locator("#notice")).to_have_text("The server is busy. The page asks again in 1 s.")
    expect(page.locator("#cards .words")).to_have_text([smile])
    expect(page.locator("#notice")).to_be_hidden()
    assert len(refusals) == 1
    page.context.set_offline(True)
    page.locator("#files").set_input_files(portrait)
    expect(page.locator("#notice")).to_have_text("The server does not answer. Is mien serve still running?")
    expect(page.locator("#cards .words")).to_have_count(1)  # what was read before stays


def test_pictures_that_take_too_long_together_are_sent_one_by_one_and_cancelling_ends_the_notice(
    browser: Browser, address: str, portrait: Path, smile: str
) -> None:
    page = opened(browser, address)
    sent: list[int] = []

    def refuse(route: Route) -> None:
        sent.append((route.request.post_data_buffer or b"").count(b"filename="))
        if sent[-1] == 1:
            route.continue_()
        else:
            problem = {"title": "Service Unavailable", "status": 503, "detail": "Not answered within 60 s."}
            route.fulfill(status=503, json=problem, headers={"Retry-After": "1"})

    page.route("**/v1/recognize", refuse)
    drop(page, ("a.jpg", portrait.read_bytes()), ("b.jpg", portrait.read_bytes()))
    expect(page.locator("#cards .words")).to_have_text([smile, smile])
    assert sent == [2, 2, 1, 1]
    page.unroute("**/v1/recognize")
    page.route("**/v1/recognize", lambda route: route.fulfill(status=503, body="down"))
    drop(page, ("c.jpg", portrait.read_bytes()), ("d.jpg", portrait.read_bytes()))
    expect(page.locator("#notice")).to_contain_text("The server answers 503")
    expect(page.locator("#cards > article")).to_have_count(2)
    page.unroute("**/v1/recognize")
    busy = {"title": "Too many", "status": 429, "detail": "Too many at once."}
    page.route("**/v1/recognize", lambda route: route.fulfill(status=429, json=busy, headers={"Retry-After": "30"}))
    drop(page, ("c.jpg", portrait.read_bytes()))
    expect(page.locator("#notice")).to_contain_text("asks again in 30 s")
    page.locator("#pictures-cancel").click()
    expect(page.locator("#notice")).to_be_hidden()


def test_no_box_is_drawn_where_the_browser_leaves_a_picture_lying(
    browser: Browser, address: str, portrait: Path
) -> None:
    lying = io.BytesIO()
    with Image.open(portrait) as upright:
        exif = Image.Exif()
        exif[0x0112] = 6
        upright.resize((512, 400)).transpose(Image.Transpose.ROTATE_90).save(lying, "WEBP", exif=exif)
    page = opened(browser, address)
    drop(page, ("lying.webp", lying.getvalue()))
    expect(page.locator("#cards .words")).to_contain_text(["happy"])
    expect(page.locator("#cards .small").first).to_contain_text("so that no boxes are drawn")
    expect(page.locator("#cards canvas").first).to_be_hidden()
    page.get_by_role("button", name="Picture with boxes (PNG) of lying.webp").click()
    expect(page.locator("#notice")).to_contain_text("lying.webp: This browser shows the picture lying otherwise")


def test_on_a_small_phone_nothing_is_cut_and_every_control_has_a_name(
    browser: Browser, address: str, portrait: Path, smile: str
) -> None:
    page = opened(
        browser, address, viewport=SMALL_PHONE, has_touch=True, is_mobile=True, device_scale_factor=2,
        color_scheme="dark", reduced_motion="reduce",
    )  # fmt: skip
    page.locator("#files").set_input_files(
        {"name": 99 * "long", "mimeType": "image/jpeg", "buffer": portrait.read_bytes()}
    )
    expect(page.locator("#cards .words")).to_have_text([smile])
    page.locator("#camera-on").tap()
    expect(page.locator("#live-people h3")).to_have_text(["person 1"])
    assert page.evaluate("document.documentElement.scrollWidth") <= SMALL_PHONE["width"]
    picture(page, "phone-dark")
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert button.get_attribute("aria-label") or button.inner_text()
    ground, ink = (
        sum(map(int, page.evaluate(f"getComputedStyle(document.body).{key}.match(/[0-9]+/g).slice(0, 3)")))
        for key in ("backgroundColor", "color")
    )
    assert ground < 100
    assert ink > 650
    assert page.locator("[aria-live=polite]").count() == 2
