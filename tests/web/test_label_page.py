"""The page as people use it, in a real browser: by keys and by thumb, with a bad connection, by two at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from tests.web.browsing import NEEDS_CHROMIUM, SMALL_PHONE, chromium, served_here, take_picture
from tests.web.conftest import MakeSet, Served, port_of, serving, until

from mien.data.annotate import LabelStore
from mien.data.faceset import FaceSet
from mien.data.queue import shuffled
from mien.web.access import LOOPBACK_NAMES
from mien.web.label import create_app

PHONE = {"width": 390, "height": 844}
ERRORS: list[str] = []  # of the page's script
pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium, without a window."""
    with chromium() as started:
        yield started


@pytest.fixture(autouse=True)
def no_error_in_the_script() -> Iterator[None]:
    """Let a test fail where the page's own script did."""
    ERRORS.clear()
    yield
    assert ERRORS == []


@pytest.fixture
def faceset(make_set: MakeSet) -> FaceSet:
    """Return a set of five faces."""
    return make_set(5)


@dataclass
class Site:
    """Where a page is served."""

    address: str


@pytest.fixture
def served(faceset: FaceSet) -> Iterator[Site]:
    """Return where the set is served, from within this process."""
    app = create_app(faceset, LabelStore(faceset.folder), ["anna", "ben b"], order=shuffled, names=LOOPBACK_NAMES)
    with served_here(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"), force=True) as address:
        yield Site(address)


def opened(browser: Browser, served: Site | Served, who: str = "anna", **options: object) -> Page:
    """Return the page of an annotator in a browser of its own, its first face shown."""
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: ERRORS.append(str(error)))
    page.goto(served.address + f"label/{who}")
    page.locator("#face").wait_for()
    return page


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page where one asks for it."""
    take_picture(page, f"label-{name}")


def press(page: Page, *keys: str) -> None:
    """Press keys, each when the face of the one before has been shown."""
    for key in keys:
        page.locator("#face").wait_for()
        until(lambda: bool(page.evaluate("shownAt > 0")))  # what waits within the page is forbidden by its policy
        page.keyboard.press(key)


def settled(page: Page) -> None:
    """Wait until the faces ahead are fetched and the page itself knows that no answer waits."""
    page.evaluate("Promise.all(pictures.values()).then(() => null)")
    until(lambda: bool(page.evaluate("queue.keys().length === 0")))


def said(faceset: FaceSet, who: str = "anna") -> list[tuple[str, str | None]]:
    """Return what stands in the file, in the order in which it was given."""
    return [(each.answer, each.second) for each in LabelStore(faceset.folder).answers(who)]


def test_a_person_labels_all_faces_by_keys_alone(browser: Browser, served: Site, faceset: FaceSet) -> None:
    page = opened(browser, served, viewport={"width": 1280, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    expect(page.locator("#count")).to_have_text("0 of 5")
    picture(page, "desktop")
    press(page, "4", "a", "m", "6")
    expect(page.locator("#say")).to_have_text("Mixed: surprise and, weaker, which?")
    expect(page.locator("[data-answer=surprise]")).to_be_disabled()
    picture(page, "mixed")
    press(page, "3", "0")
    until(lambda: said(faceset) == [("happy", None), ("angry", None), ("surprise", "fear"), ("none", None)])
    press(page, "Backspace")
    expect(page.locator("#say")).to_have_text("Undone: none of these")
    until(lambda: len(said(faceset)) == 3)
    press(page, "k", "n")
    expect(page.locator("#say")).to_contain_text("neutral (7) or none of these (0)")
    press(page, "?")
    expect(page.locator("#helping")).to_be_visible()
    picture(page, "help")
    page.keyboard.press("1")  # reaches no face while the help lies over it
    page.keyboard.press("Escape")
    press(page, "7")
    expect(page.locator("#all")).to_have_text("All 5 faces are labelled")
    expect(page.locator("#agree")).to_contain_text("mien data agree ")
    picture(page, "finished")
    want = [("happy", None), ("angry", None), ("surprise", "fear"), ("skip", None), ("neutral", None)]
    assert said(faceset) == want
    page.keyboard.press("u")  # from the end, too
    expect(page.locator("#face")).to_be_visible()
    until(lambda: said(faceset) == want[:-1])
    assert all(url.startswith((served.address, "blob:" + served.address)) for url in asked)


def test_a_reload_goes_on_where_one_was(browser: Browser, served: Site, faceset: FaceSet) -> None:
    page = opened(browser, served)
    press(page, "1", "2")
    expect(page.locator("#count")).to_have_text("2 of 5")
    until(lambda: len(said(faceset)) == 2)
    page.reload()
    expect(page.locator("#count")).to_have_text("2 of 5")
    press(page, "u")
    expect(page.locator("#count")).to_have_text("1 of 5")
    until(lambda: said(faceset) == [("angry", None)])


def test_two_people_label_at_once_and_see_nothing_of_each_other(
    browser: Browser, served: Site, faceset: FaceSet
) -> None:
    anna = opened(browser, served)
    ben = browser.new_context().new_page()
    ben.goto(served.address)
    picture(ben, "start")
    ben.get_by_role("link", name="ben b").click()
    ben.locator("#face").wait_for()
    for keys in (("1", "2"), ("3", "4")):
        press(anna, *keys)
        press(ben, "7", "7")
    until(lambda: len(said(faceset)) == 4)
    until(lambda: said(faceset, "ben b") == [("neutral", None)] * 4)
    assert "anna" not in ben.content()
    expect(ben.locator("#count")).to_have_text("4 of 5")


def test_a_lost_connection_loses_no_answer_even_across_a_reload(browser: Browser, faceset: FaceSet) -> None:
    with serving(faceset.folder, "--annotator", "anna") as served:
        port = port_of(served.address)
        page = opened(browser, served)
        press(page, "1")
        settled(page)
        assert len(said(faceset)) == 1
        served.process.kill()
        served.process.wait()
        press(page, "2", "m", "3", "4", "5")
        expect(page.locator("#notice")).to_have_text("3 answers wait for the connection")
        picture(page, "offline")
        assert len(said(faceset)) == 1
    with serving(faceset.folder, "--annotator", "anna", port=port):
        page.reload()
        expect(page.locator("#count")).to_have_text("4 of 5")
        until(lambda: len(said(faceset)) == 4)
        assert said(faceset) == [("angry", None), ("disgust", None), ("fear", "happy"), ("sad", None)]
        expect(page.locator("#notice")).to_be_hidden()
        assert page.evaluate("Object.keys(localStorage).length") == 0


def test_the_connection_coming_back_sends_what_waits_by_itself(
    browser: Browser, served: Site, faceset: FaceSet
) -> None:
    page = opened(browser, served)
    settled(page)
    page.context.set_offline(True)
    press(page, "1", "u", "2", "3", "4", "5", "6")  # to the end, on faces that were fetched ahead
    expect(page.locator("#all")).to_have_text("All 5 faces have an answer")
    expect(page.locator("#notice")).to_contain_text("wait for the connection")
    page.context.set_offline(False)
    expect(page.locator("#all")).to_have_text("All 5 faces are labelled")
    assert [answer for answer, _ in said(faceset)] == ["disgust", "fear", "happy", "sad", "surprise"]


def test_a_full_disk_is_told_and_the_answer_waits(browser: Browser, served: Site, faceset: FaceSet) -> None:
    page = opened(browser, served)
    page.route("**/steps", lambda route: route.fulfill(status=507, body="the disk is full; make room"))
    press(page, "4")
    expect(page.locator("#notice")).to_have_text("1 answer waits in this browser: the disk is full; make room")
    page.unroute("**/steps")
    until(lambda: said(faceset) == [("happy", None)])
    expect(page.locator("#notice")).to_be_hidden()


def test_a_face_that_is_removed_meanwhile_is_left_out(browser: Browser, served: Site, faceset: FaceSet) -> None:
    page = opened(browser, served)
    first, second = page.evaluate("todo.slice(0, 2)")
    faceset.mark_copies([(first, "another"), (second, "another")])
    press(page, "4", "5")
    expect(page.locator("#count")).to_have_text("0 of 3")
    press(page, "6")
    until(lambda: said(faceset) == [("surprise", None)])


def test_the_whole_picture_is_shown_when_asked_for_and_told_when_gone(
    browser: Browser, served: Site, faceset: FaceSet
) -> None:
    page = opened(browser, served, viewport={"width": 1280, "height": 800})
    expect(page.locator("#context")).to_be_hidden()
    press(page, "c")
    expect(page.locator("#context")).to_be_visible()
    picture(page, "context")
    (row,) = [face for face in faceset.faces() if face.key == page.evaluate("todo[4]")]  # not fetched ahead yet
    row.path.unlink()
    press(page, "1", "1", "1", "1")
    expect(page.locator("#nocontext")).to_contain_text("no longer where it was")
    press(page, "c")
    expect(page.locator("#nocontext")).to_be_hidden()
    until(lambda: len(said(faceset)) == 4)


def test_the_whole_picture_comes_with_the_connection(browser: Browser, served: Site) -> None:
    page = opened(browser, served)
    page.route("**/context/**", lambda route: route.abort())
    press(page, "c")
    expect(page.locator("#nocontext")).to_have_text("The whole picture waits for the connection")
    page.unroute("**/context/**")
    expect(page.locator("#context")).to_be_visible()
    expect(page.locator("#nocontext")).to_have_text("")


def test_the_focus_stays_where_it_is_while_two_are_mixed(browser: Browser, served: Site, faceset: FaceSet) -> None:
    page = opened(browser, served)
    happy = page.locator("[data-answer=happy]")
    happy.focus()
    press(page, "m", "Enter")
    expect(happy).to_be_disabled()
    expect(happy).to_be_focused()
    press(page, "Enter", "5")  # the first of these does nothing
    until(lambda: said(faceset) == [("happy", "sad")])
    page.locator("#undo").focus()
    press(page, "Enter")
    expect(page.locator("#undo")).to_be_focused()
    until(lambda: said(faceset) == [])


def test_on_a_phone_all_is_in_reach_of_a_thumb(browser: Browser, served: Site, faceset: FaceSet) -> None:
    page = opened(browser, served, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    for size, name in ((PHONE, "phone"), (SMALL_PHONE, "small-phone")):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.evaluate("document.documentElement.scrollHeight") <= size["height"]
        face = page.locator("#face").bounding_box()
        assert face is not None
        assert min(face["width"], face["height"]) >= 180
        for button in page.locator("main button").all():
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 44
            assert box["y"] + box["height"] <= size["height"]
        picture(page, name)
    page.wait_for_timeout(300)  # a tap right after a face has come is taken for the second half of a double tap
    page.get_by_role("button", name="happy").tap()
    until(lambda: said(faceset) == [("happy", None)])
    page.get_by_role("button", name="whole picture").tap()
    expect(page.locator("#context")).to_be_visible()
    picture(page, "phone-context")


def test_in_the_dark_text_is_light_and_every_control_has_a_name(browser: Browser, served: Site) -> None:
    page = opened(browser, served, color_scheme="dark", viewport={"width": 1280, "height": 800})
    picture(page, "dark")
    ground, ink = (
        sum(map(int, page.evaluate(f"getComputedStyle(document.body).{key}.match(/[0-9]+/g).slice(0, 3)")))
        for key in ("backgroundColor", "color")
    )
    assert ground < 100
    assert ink > 650
    names = [button.get_attribute("aria-label") or button.inner_text() for button in page.get_by_role("button").all()]
    assert len(names) == 13
    assert all(names)
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-label", "Faces that you have answered")
    expect(page.get_by_role("img")).to_have_attribute("alt", "Face 1 of 5")
    assert page.locator("[aria-live=polite]").count() == 2


def test_a_held_key_or_one_with_control_answers_nothing_more(browser: Browser, served: Site) -> None:
    page = opened(browser, served)
    page.keyboard.press("Control+1")
    expect(page.locator("#count")).to_have_text("0 of 5")
    page.keyboard.down("1")
    expect(page.locator("#count")).to_have_text("1 of 5")
    until(lambda: bool(page.evaluate("shownAt > 0")))  # what waits within the page is forbidden by its policy
    page.keyboard.down("1")  # the key repeats itself
    page.wait_for_timeout(100)
    expect(page.locator("#count")).to_have_text("1 of 5")


def test_letters_and_digits_can_be_switched_off_for_good(browser: Browser, served: Site) -> None:
    page = opened(browser, served)
    press(page, "1")
    expect(page.locator("#count")).to_have_text("1 of 5")
    page.get_by_role("button", name="help").click()
    page.get_by_label("Letters and digits answer").uncheck()
    picture(page, "help-letters-off")
    page.keyboard.press("Escape")
    for _ in range(2):
        press(page, "2", "h", "m", "u")
        expect(page.locator("#count")).to_have_text("1 of 5")
        expect(page.locator("#mixed")).to_have_attribute("aria-pressed", "false")
        page.reload()
        page.locator("#face").wait_for()
    press(page, "Backspace")
    expect(page.locator("#count")).to_have_text("0 of 5")


def test_the_address_with_its_token_opens_the_page(browser: Browser, faceset: FaceSet, tmp_path: Path) -> None:
    with serving(faceset.folder, "--annotator", "anna", "--token", "a-long-enough-token") as served:
        page = browser.new_context().new_page()
        page.goto(served.address)
        assert "token" not in page.url
        page.get_by_role("link", name="anna").click()
        page.locator("#face").wait_for()
        press(page, "4")
        until(lambda: said(faceset) == [("happy", None)])
