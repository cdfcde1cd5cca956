"""The page in a headless browser: what users see and press."""

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import BROWSER
from hostile import encode_image, make_bombs
from PIL import Image
from skimage import data
from web_server import serving

pytestmark = [
    pytest.mark.web,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no browser"),
]

SOON, LATER = 30_000, 150_000  # milliseconds, without training and with it
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
CONTROLS = "button, input:not([type=file]), a[href], [role=slider], [role=tab], textarea, summary"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("browser")) as server:
        yield server
        assert "Traceback" not in server.read_log()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(data.astronaut()).resize((96, 96), Image.Resampling.LANCZOS).save(path)
    return path


@pytest.fixture(scope="module")
def expected(photo, tmp_path_factory):
    """The pixels that the command makes of it."""
    output = tmp_path_factory.mktemp("expected") / "made.png"
    command = [sys.executable, "-m", "zssr", photo, "-o", output, "--threads", "1", "-q"]
    subprocess.run(command, check=True)
    with Image.open(output) as made:
        return np.asarray(made)


class User:
    """A browser that has the page open, with its errors and requests."""

    def __init__(self, browser, server, size="desktop", scheme="light"):
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page, self.errors, self.requests = self.context.new_page(), [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server.address)
        self.page.wait_for_selector("#enlarge", timeout=SOON)
        self.page.wait_for_selector("#photo input[type=file]", state="attached", timeout=SOON)

    def upload(self, name, content, kind="image/png"):
        self.page.set_input_files("#photo input[type=file]", {"name": name, "mimeType": kind, "buffer": content})
        self.wait_for_photo(name)

    def wait_for_photo(self, name):
        self.page.wait_for_selector(f"#photo .filename[aria-label='{name}']", timeout=SOON)
        self.page.wait_for_selector("#photo a[download]", timeout=SOON)

    def press(self, button):
        self.page.click(f"#{button}:not([disabled])", timeout=SOON)

    def choose(self, question, answer):
        self.page.locator(f"#{question}").get_by_text(answer, exact=True).click()

    def wait_for_state(self, pattern, timeout=SOON):
        matches = "(pattern) => new RegExp(pattern).test(document.querySelector('#state .state')?.innerText)"
        self.page.wait_for_function(matches, arg=pattern, timeout=timeout)

    def error(self):
        """The sentence of an error."""
        alert = self.page.wait_for_selector("#state .alert", timeout=SOON)
        assert "Traceback" not in self.page.content()
        return alert.inner_text()

    def download(self):
        with self.page.expect_download(timeout=SOON) as coming:
            self.page.click("#download")
        return coming.value


@pytest.fixture
def user(browser, server):
    users = []

    def open_page(*arguments):
        users.append(User(browser, server, *arguments))
        return users[-1]

    yield open_page
    for one in users:
        assert [each for each in one.errors if "413" not in each] == []
        assert [url for url in one.requests if not url.startswith((server.address, "data:", "blob:"))] == []
        one.context.close()


WATCH = """() => {
  window.states = []; window.previews = new Set();
  new MutationObserver(() => {
    const state = document.querySelector("#state .state"), preview = document.querySelector("#preview img");
    if (state && state.innerText !== window.states.at(-1)) window.states.push(state.innerText);
    if (preview) window.previews.add(preview.src);
  }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}"""

PASTE = """(text) => {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
  document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: files, bubbles: true}));
}"""


def test_photo_is_upscaled_as_by_the_command(user, photo, expected, tmp_path):
    one = user()
    one.page.evaluate(WATCH)
    one.upload(photo.name, photo.read_bytes())
    one.press("enlarge")
    one.wait_for_state("^Training", LATER)
    assert one.page.is_disabled("#enlarge")
    assert one.page.locator("#preview img").is_visible()
    one.wait_for_state("^Done", LATER)
    states, previews = one.page.evaluate("[window.states, [...window.previews]]")
    assert len({text for text in states if text.startswith("Training")}) >= 3
    assert previews
    for source in previews:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as preview:
            assert preview.format == "JPEG"
    download = one.download()
    assert download.suggested_filename == "astronaut_x2.png"
    with Image.open(download.path()) as made:
        np.testing.assert_array_equal(np.asarray(made), expected)

    slider = one.page.locator("#slider")
    slider.scroll_into_view_if_needed()
    one.page.wait_for_function("[...document.querySelectorAll('#slider img')].every((one) => one.complete)")
    box = slider.locator("img").first.bounding_box()
    views = [one.page.screenshot(clip=box)]
    handle = slider.locator(".inner").bounding_box()
    middle = box["y"] + box["height"] / 2
    one.page.mouse.move(handle["x"] + handle["width"] / 2, middle)
    one.page.mouse.down()
    for share in (0.3, 0.1):
        one.page.mouse.move(box["x"] + share * box["width"], middle, steps=5)
        one.page.wait_for_timeout(200)
        views.append(one.page.screenshot(clip=box))
    one.page.mouse.up()
    assert len(set(views)) == 3
    one.page.screenshot(path=tmp_path / "done.png", full_page=True)


def test_crop_of_a_pasted_photo_is_tried(user, photo):
    one = user()
    for _ in range(2):  # the second takes the place of the first
        one.page.evaluate(PASTE, base64.b64encode(photo.read_bytes()).decode())
        one.wait_for_photo("pasted.png")
    one.press("try")
    one.wait_for_state("^Done", LATER)
    one.page.wait_for_selector("#slider", timeout=SOON)
    assert not one.page.locator("#download").is_visible()


def test_answers_changed_in_haste_are_taken(user, photo):
    one = user()
    one.upload(photo.name, photo.read_bytes())
    one.page.get_by_text("More", exact=True).click()
    for answer in ("to a size", "from a file"):
        one.page.get_by_role("radio", name=answer).check()
    one.page.get_by_label("Width, pixels").fill("120")
    one.page.get_by_label("Height, pixels").fill("100")
    one.page.get_by_role("radio", name="fast").check()
    one.page.get_by_role("radio", name="bicubic").check()
    one.press("enlarge")
    one.wait_for_state("^Done", LATER)
    one.page.get_by_text("120 x 100 pixels").wait_for(timeout=SOON)
    one.page.get_by_label("Width, pixels").fill("")
    one.page.get_by_role("radio", name="1.5").check()
    one.page.get_by_role("radio", name="estimated").check()
    one.press("enlarge")
    one.page.get_by_text("144 x 144 pixels").wait_for(timeout=LATER)


def test_one_user_stops_and_another_waits_in_the_queue(user, photo):
    first, second = user(), user()
    for one in (first, second):
        one.upload(photo.name, photo.read_bytes())
    first.choose("preset", "best")
    first.press("enlarge")
    first.wait_for_state("^Training", LATER)
    second.press("try")
    second.wait_for_state("^Waiting: 1 photo comes before yours")
    first.press("stop")
    first.wait_for_state("^Stopped")
    second.wait_for_state("^Done", LATER)
    first.page.wait_for_selector("#stop[disabled]", timeout=SOON)
    assert not first.page.locator("#slider").is_visible()
    first.press("try")
    first.wait_for_state("^Done", LATER)
    first.page.wait_for_selector("#slider", timeout=SOON)


def test_wrong_files_are_refused_with_a_sentence(user, astronaut, tmp_path):
    one = user()
    one.press("enlarge")
    assert "drop one first" in one.error()
    files = {"text.png": b"What is this?", "bomb.png": make_bombs()["PNG"]}
    files["cut.png"] = encode_image(Image.fromarray(astronaut), "PNG")[:-2000]
    seen = [one.error()]
    for name, content in files.items():
        if seen[1:]:
            one.page.click("#photo button[aria-label='Clear']")
            one.page.wait_for_selector("#photo input[type=file]", state="attached")
        one.upload(name, content)
        one.press("enlarge")
        one.page.wait_for_function("(old) => document.querySelector('#state .alert')?.innerText !== old", arg=seen[-1])
        seen.append(one.error())
        assert seen[-1].startswith(f"{name}: ")
        one.page.wait_for_selector("#enlarge:not([disabled])")
    assert "60000x60000" in seen[2]
    other = user()
    other.page.set_input_files(
        "#photo input[type=file]", {"name": "large.png", "mimeType": "image/png", "buffer": bytes(11_000_000)}
    )
    other.page.get_by_text(re.compile("maximum allowed size")).first.wait_for(timeout=SOON)
    assert "Traceback" not in other.page.content()


OVERLAPS = """(selector) => {
  const shown = [...document.querySelectorAll(selector)].filter((one) => {
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && style.visibility !== "hidden" && style.opacity !== "0";
  });
  const found = [];
  shown.forEach((one, k) => shown.slice(k + 1).forEach((other) => {
    const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
    const apart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
    if (!apart && !one.contains(other) && !other.contains(one)) found.push([one.outerHTML, other.outerHTML]);
  }));
  return found;
}"""

FOCUSED = """() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  window.reached = (window.reached || new Set()).add(one);
  const labels = [...(one.labels || [])].map((label) => label.innerText).join(" ");
  return [one.outerHTML.slice(0, 300), one.getAttribute("aria-label") || labels || one.innerText || one.title || ""];
}"""

MISSED = """() => {
  const reached = [...window.reached];
  const isReached = (one) => reached.includes(one)  // of radio buttons one each: arrows lead to the others
    || (one.type === "radio" && reached.some((other) => other.type === "radio" && other.name === one.name));
  return [...document.querySelectorAll("button, input, textarea, select, a[href]")].filter((one) =>
    one.checkVisibility({visibilityProperty: true}) && !one.disabled && !isReached(one)).map((one) => one.outerHTML);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_page_fits_and_the_keyboard_reaches_all_of_it(user, size, scheme):
    one = user(size, scheme)
    one.page.get_by_text("More", exact=True).click()
    one.choose("scale", "to a size")
    one.page.get_by_text("from a file", exact=True).click()
    one.page.get_by_text("Kernel file").first.wait_for(timeout=SOON)
    one.page.get_by_label("Width, pixels").first.wait_for(timeout=SOON)
    width = SIZES[size][0]
    assert one.page.evaluate("document.documentElement.scrollWidth") <= width
    assert one.page.evaluate(OVERLAPS, CONTROLS) == []
    ground = one.page.evaluate("getComputedStyle(document.querySelector('gradio-app')).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 100) is (scheme == "dark")
    for _ in range(80):  # more than once around
        one.page.keyboard.press("Tab")
        if found := one.page.evaluate(FOCUSED):
            text, name = found
            assert name.strip(), text
    assert one.page.evaluate(MISSED) == []
