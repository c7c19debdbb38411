"""The dashboard in a real browser: create, watch, drain, enrol, delete; light and dark, desktop and phone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.conftest import COORDINATOR, DATABASE, Cluster, StartDaemon
from tests.daemons import ROOT
from tests.e2e.browser import DESKTOP, PHONE, browser, console_errors, serious_faults
from tests.e2e.live_session import SPLIT, LiveSession

from selenium.webdriver.support.ui import WebDriverWait  # isort: skip

PHOTO = ROOT / "samples" / "photos" / "obama2.jpg"
OTHER = ROOT / "samples" / "photos" / "biden2.jpg"
WAIT_S = 30


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser(DESKTOP) as made:
        yield made


@pytest.fixture(scope="module")
def session(shared_cluster: Cluster) -> Iterator[LiveSession]:
    live = LiveSession.create(shared_cluster.url, "face_recognition", pin=SPLIT, objective={"max_latency_ms": 60000})
    assert live.post(PHOTO.read_bytes()).status_code == 200
    yield live
    live.close()


def until(driver: Any, check: Callable[[], Any], what: str) -> Any:
    return WebDriverWait(driver, WAIT_S).until(lambda _: check(), message=f"{what}; the page says: {text(driver)}")


def text(driver: Any) -> str:
    return str(driver.execute_script("return document.getElementById('main').innerText"))


def press(driver: Any, words: str) -> None:
    def pressed() -> bool:
        script = """
            const meant = (x) => [x.textContent, x.getAttribute('aria-label')].includes(arguments_[0]) && !x.disabled;
            const arguments_ = arguments, button = [...document.querySelectorAll('button')].find(meant);
            if (button) button.click();
            return Boolean(button);"""
        return bool(driver.execute_script(script, words))

    until(driver, pressed, f"a button {words!r}")


def shows(driver: Any, *words: str) -> None:
    until(driver, lambda: all(word in text(driver) for word in words), f"{words} on the page")


def test_a_session_shows_its_graph_figures_reasons_and_a_frames_path(
    driver: Any, shared_cluster: Cluster, session: LiveSession
) -> None:
    driver.get(f"{shared_cluster.url}/#/sessions/{session.id}")
    shows(driver, "running", "met", "pinned", "placed", "delivered")
    label = until(
        driver,
        lambda: driver.execute_script("return document.querySelector('.graph svg')?.getAttribute('aria-label')"),
        "a graph",
    )
    assert "detect on node 1, recognize on node 2" in label
    shows(driver, "Handlers and hops", "hop 1 → 2")
    until(
        driver, lambda: requests.get(f"{session.coordinator}/sessions/{session.id}/frames/0", timeout=5).ok, "a report"
    )
    press(driver, "Latest frames")
    press(driver, "frame 0")
    shows(driver, "Frame 0:", "2 recognize")
    press(driver, "Watch live")
    session.post(PHOTO.read_bytes())  # watched frames are drawn

    def size() -> int:
        session.post(PHOTO.read_bytes())
        return int(driver.execute_script("return document.querySelector('img.live')?.naturalWidth || 0"))

    until(driver, size, "a live picture")
    press(driver, "Stop watching")
    assert console_errors(driver) == []


def test_create_with_a_dry_run_and_delete(driver: Any, shared_cluster: Cluster) -> None:
    driver.get(f"{shared_cluster.url}/#/new")
    until(driver, lambda: driver.execute_script("return document.querySelector('[name=service]')?.value"), "the form")
    driver.execute_script(
        "const s = document.querySelector('[name=service]'); s.value = 'face_detection';"
        "s.dispatchEvent(new Event('change'))"
    )
    press(driver, "Dry run")
    shows(driver, "It would run face_detection", "Predicted")
    press(driver, "Create")
    until(driver, lambda: "/sessions/" in driver.current_url, "the new session's page")
    shows(driver, "face_detection", "running")
    driver.execute_script("window.confirm = () => true")
    press(driver, "Delete")
    until(driver, lambda: driver.current_url.endswith("#/"), "the overview")
    assert console_errors(driver) == []


def test_drain_and_uncordon(driver: Any, shared_cluster: Cluster) -> None:
    driver.get(f"{shared_cluster.url}/#/")
    press(driver, "Cordon node 2")
    shows(driver, "cordoned")
    press(driver, "Uncordon node 2")
    press(driver, "Drain node 2")  # the button is there as soon as the node is up again
    until(driver, lambda: "draining" in text(driver) or "cordoned" in text(driver), "a drained node")
    press(driver, "Uncordon node 2")
    press(driver, "Cordon node 2")
    press(driver, "Uncordon node 2")
    assert console_errors(driver) == []


def test_enrol_by_a_picture_and_remove(driver: Any, shared_cluster: Cluster) -> None:
    driver.get(f"{shared_cluster.url}/#/galleries/friends")
    shows(driver, "Nobody is in this gallery yet")
    driver.find_element("css selector", "form.drop input[placeholder]").send_keys("Ada <b>Lovelace")
    driver.find_element("css selector", "input[type=file]").send_keys(str(PHOTO))
    press(driver, "Enrol")
    shows(driver, "obama2.jpg: added", "Ada <b>Lovelace")
    driver.find_element("css selector", ".not input[type=file]").send_keys(str(OTHER))
    shows(driver, "biden2.jpg: added", "not Ada <b>Lovelace")
    other = "return document.querySelector('.others img')?.naturalWidth || 0"
    until(driver, lambda: driver.execute_script(other), "the picture of somebody else")
    (entry,) = requests.get(f"{shared_cluster.url}/galleries/friends", timeout=5).json()["labels"]
    assert (len(entry["pictures"]), len(entry["not"])) == (1, 1)
    driver.execute_script("window.confirm = () => true")
    press(driver, f"Remove picture {entry['not'][0]['name']} who is not Ada <b>Lovelace")
    until(driver, lambda: not driver.execute_script(other), "it to go")
    press(driver, "Remove Ada <b>Lovelace")
    until(driver, lambda: "obama2.jpg" not in text(driver) or "Remove" not in text(driver), "the label to go")
    assert console_errors(driver) == []


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop-light", "phone-dark"])
def test_no_serious_fault_of_accessibility(
    shared_cluster: Cluster, session: LiveSession, size: tuple[int, int], dark: bool
) -> None:
    with browser(size, dark=dark) as driver:
        for page, words in {
            "": "session",
            f"sessions/{session.id}": "delivered",
            "new": "Service",
            "galleries": "Enrol",
        }.items():
            driver.get(f"{shared_cluster.url}/#/{page}")
            shows(driver, words)
            assert serious_faults(driver) == []
            wide = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"page {page!r} is {wide} px wider than the screen"


def test_with_a_token_a_browser_signs_in_by_a_form(start_daemon: StartDaemon, tmp_path: Any, driver: Any) -> None:
    secret = "s3cret-t0ken"
    config = (COORDINATOR + DATABASE).format(folder=tmp_path) + f"\n[security]\ntoken = {secret}\n"
    url = start_daemon(config, name="guarded").url
    driver.get(f"{url}/")
    until(driver, lambda: driver.find_elements("id", "token"), "a form")
    driver.find_element("id", "token").send_keys("wrong")
    press(driver, "Sign in")
    shows(driver, "that is not the token")
    driver.find_element("id", "token").clear()
    driver.find_element("id", "token").send_keys(secret)
    press(driver, "Sign in")
    shows(driver, "No node has reported yet")
    cookie = driver.get_cookie("faceservice")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert secret not in str(cookie) + driver.page_source + driver.current_url
    jar = {"faceservice": cookie["value"]}
    assert requests.get(f"{url}/nodes", timeout=5).status_code == 401
    assert requests.get(f"{url}/nodes", cookies=jar, timeout=5).status_code == 200
    evil = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    assert requests.post(f"{url}/sessions", cookies=jar, headers=evil, json={}, timeout=5).status_code == 403
    assert requests.post(f"{url}/sessions", cookies=jar, json={"service": "x"}, timeout=5).status_code == 422
    driver.delete_all_cookies()
    console_errors(driver)  # the refused sign-in is one
