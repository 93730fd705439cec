"""The page in a real browser, by WebDriver's own protocol: nothing is loaded or fails, buttons and keys work."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import skexplain

pd = pytest.importorskip("pandas")
pytest.importorskip("jinja2")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
NO_BROWSER = "THE REPORT IS NOT TESTED IN A BROWSER: install chromium and chromium-driver, as .ci/run does"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
#: The key that WebDriver means by it.
RIGHT, SPACE = "\ue014", "\ue00d"

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NO_BROWSER)


class Browser:
    """A session of WebDriver."""

    def __init__(self, port, profile):
        self.root = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": [*ARGUMENTS.split(), f"--user-data-dir={profile}"]}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", **capabilities}}}
        self.root += f"/session/{self('POST', '/session', wanted)['sessionId']}"

    def __call__(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def run(self, script):
        return self("POST", "/execute/sync", {"script": script, "args": []})

    def press(self, element, key):
        (reference,) = self.run(f"return {element}").values()
        self("POST", f"/element/{reference}/value", {"text": key})

    def log(self, kind):
        return self("POST", "/se/log", {"type": kind})


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["b", EVIL, "a"])
    y = X["b"] > X["a"]
    net = MLPClassifier((4,), solver="lbfgs", max_iter=2000, alpha=1, random_state=0).fit(X, y)
    skexplain.report(
        {EVIL: net}, X, y, path=folder / "r.html", title=EVIL, methods=["saliency", "ablation"], cv=2, n_rows=3
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        try:
            found = _when_ready(port, folder / "profile")
            found("POST", "/url", {"url": (folder / "r.html").as_uri()})
            yield found
            found("DELETE", "")
        finally:
            driver.terminate()


def _when_ready(port, profile):
    for _ in range(100):
        try:
            return Browser(port, profile)
        except ConnectionError:
            time.sleep(0.1)
        except OSError as exc:
            if not isinstance(getattr(exc, "reason", None), ConnectionError):
                raise
            time.sleep(0.1)
    raise TimeoutError("chromedriver does not answer")


def test_nothing_is_loaded_and_nothing_fails(browser):
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    asked = [
        s["request"]["url"] for s in sent if s["documentURL"].startswith("file:")
    ]  # the browser has pages of its own
    assert asked  # or nothing was recorded
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert not [e for e in events if e["method"] == "Page.javascriptDialogOpening"]
    assert browser.run("return [...document.images].every(image => image.naturalWidth > 0)")
    assert browser.run("return document.title") == EVIL


ROWS = "[...document.querySelectorAll('#model-1-importances tbody tr')].map(row => row.cells[{}].textContent)"
HEAD = "document.querySelectorAll('#model-1-importances th')[{}]"


def test_tables_are_sorted(browser):
    ranks = browser.run(f"return {ROWS.format(0)}")
    assert ranks == ["1", "2", "3"]
    browser.run(f"{HEAD.format(2)}.firstChild.click()")  # shares, the largest first
    assert browser.run(f"return {HEAD.format(2)}.ariaSort") == "descending"
    assert browser.run(f"return {ROWS.format(0)}") == ["1", "2", "3"]
    browser.press(f"{HEAD.format(2)}.firstChild", SPACE)  # and back, by the keyboard
    assert browser.run(f"return {ROWS.format(0)}") == ["3", "2", "1"]
    assert browser.run(f"return {HEAD.format(2)}.ariaSort") == "ascending"
    browser.run(f"{HEAD.format(1)}.firstChild.click()")  # words, A first
    names = browser.run(f"return {ROWS.format(1)}")
    assert [n for n in names if len(n) == 1] == ["a", "b"]
    assert browser.run("return document.querySelectorAll('#model-1-importances [aria-sort]').length") == 1


def test_rows_are_stepped_through(browser):
    shown = "return [...document.querySelectorAll('.step')].map(step => step.offsetHeight > 0)"
    buttons = "document.querySelectorAll('.stepper button')"
    assert browser.run(shown) == [True, False, False]
    assert browser.run(f"return [{buttons}[0].disabled, {buttons}[1].disabled]") == [True, False]
    browser.run(f"{buttons}[1].click()")
    assert browser.run(shown) == [False, True, False]
    browser.press(f"{buttons}[1]", RIGHT)
    assert browser.run(shown) == [False, False, True]
    assert browser.run("return document.querySelector('.stepper span').textContent") == "3 of 3"
    assert browser.run(f"return {buttons}[1].disabled")


CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
  .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = channels(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
return [...document.body.querySelectorAll("*")]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !["SCRIPT"].includes(e.tagName))
  .map(e => {
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName, e.textContent.slice(0, 30)];
  })
  .filter(([ratio]) => ratio < 4.5);
"""


def test_contrast_is_that_of_wcag_aa(browser):
    assert browser.run(CONTRAST) == []


def test_narrow_pages_do_not_scroll_sideways(browser):
    browser("POST", "/window/rect", {"width": 500, "height": 900})
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
