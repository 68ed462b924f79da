"""The demo page in headless Chromium, from the upload to the downloads."""

import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import pdanet_tf
from pdanet_tf.data import Classes
from pdanet_tf.demo.answers import ShownModel
from pdanet_tf.demo.samples import folder_samples
from pdanet_tf.inference import Predictor
from tests.support.browser import chromium
from tests.support.demo_pages import running
from tests.support.models import pictures

pytestmark = pytest.mark.extra
pytest.importorskip("starlette", reason="requires the extra demo")
pytest.importorskip("uvicorn", reason="requires the extra demo")

from pdanet_tf.demo.app import make_app  # noqa: E402

CLASSES = Classes(
    ("background", "red", "green", "blue"), ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
)
SIZE = 90, 120
# Records a moving square for a second, and returns the file in base64.
RECORD = """async () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [64, 48];
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(10), {mimeType: "video/webm"});
  const parts = [];
  recorder.ondataavailable = ({data}) => parts.push(data);
  const ended = new Promise((done) => (recorder.onstop = done));
  recorder.start();
  for (let step = 0; step < 12; step++) {
    context.fillStyle = "blue";
    context.fillRect(0, 0, 64, 48);
    context.fillStyle = "red";
    context.fillRect(4 * step, 12, 16, 16);
    await new Promise((done) => setTimeout(done, 90));
  }
  recorder.stop();
  await ended;
  const reader = new FileReader();
  reader.readAsDataURL(new Blob(parts));
  await new Promise((done) => (reader.onload = done));
  return reader.result.split(",")[1];
}"""
# The number of pixels of the overlay that are painted.
PAINTED = """canvas => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""


class ColorPredictor(Predictor):
    """Says which of red, green and blue is the strongest, and background for grey."""

    def confident_label_map(self, image, size=None):
        pixels = np.asarray(Image.fromarray(image).resize((size or image.shape[:2])[::-1], 0), int)
        spread = pixels.max(-1) - pixels.min(-1)
        return np.where(spread < 60, 0, pixels.argmax(-1) + 1), spread.astype("float32") / 255


class OtherPredictor(ColorPredictor):
    """Calls blue what the first model calls green."""

    def confident_label_map(self, image, size=None):
        labels, confidence = super().confident_label_map(image, size)
        return np.where(labels == 2, 3, labels), confidence


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Stripes of the colours: three quarters red, the rest green and a grey row of 10 pixels."""
    folder = tmp_path_factory.mktemp("files")
    image = np.zeros((*SIZE, 3), "uint8")
    image[..., 0] = 250
    image[:, 90:] = (0, 250, 0)
    image[:10] = 128
    Image.fromarray(image).save(folder / "stripes.png")
    Image.fromarray(image).save(folder / "stripes.tif")
    Image.fromarray(np.full((40, 30, 3), (0, 0, 250), "uint8")).save(folder / "blue.png")
    (folder / "notes.txt").write_text("no image")
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    samples = tmp_path_factory.mktemp("samples")
    Image.fromarray(pictures(60, 80)).save(samples / "noise.png")
    model = pdanet_tf.build_model("pdanet_resnet18_quarter", len(CLASSES))
    shown = [
        ShownModel("colours", ColorPredictor(model, classes=CLASSES), "tensorflow"),
        ShownModel("others", OtherPredictor(model, classes=CLASSES), "tensorflow"),
    ]
    with running(make_app(shown, folder_samples(samples, (".png",)))) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, url):
    """A page that must raise no error and ask no other host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    faults, hosts = [], set()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    opened.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    opened.set_default_timeout(30_000)
    opened.goto(url)
    opened.wait_for_selector("#samples img")
    yield opened
    context.close()
    assert hosts - {""} == {urlsplit(url).netloc}  # blob: and data: have no host
    # Chromium itself reports the answers with status 400 that a test provokes.
    assert [fault for fault in faults if "status of 400" not in fault] == []


def upload(page, file):
    page.set_input_files("#image-file", file)
    page.wait_for_selector("#save-mask:enabled")


def legend(page, panel="#panel-image"):
    rows = page.locator(f"{panel} .legend li button")
    return [tuple(text.split("\n")) for text in rows.all_inner_texts()]


def painted(page, panel="#panel-image"):
    return page.eval_on_selector(f"{panel} canvas.paint", PAINTED)


def screenshot(page, name):
    """Saves a screenshot for people if PDANET_TF_SCREENSHOTS names a folder."""
    if "PDANET_TF_SCREENSHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["PDANET_TF_SCREENSHOTS"]) / name, full_page=True)


def test_an_upload_is_shown_with_its_classes_by_area(page, files):
    upload(page, files / "stripes.png")
    assert legend(page) == [("red", "66.7 %"), ("green", "22.2 %"), ("background", "11.1 %")]
    assert painted(page) == 80 * 120  # the background is not
    assert page.inner_text("#panel-image .facts").startswith("120 \u00d7 90 pixels · model ")
    assert page.inner_text("#status").startswith("stripes.png: 3 classes in ")
    box = page.locator("#panel-image .frame").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    assert page.inner_text("#panel-image .readout") == "green · 98.0 % · row 45, column 108"


def test_the_legend_highlights_and_hides(page, files):
    upload(page, files / "stripes.png")
    green = page.locator(".legend li button", has_text="green")
    outline = page.locator("#panel-image canvas.outline")
    alphas = "c => c.getContext('2d').getImageData(0, 50, 1, 1).data[3]"
    assert page.eval_on_selector("#panel-image canvas.paint", alphas) == 255
    green.hover()
    assert outline.evaluate("c => c.width") == 120
    assert page.eval_on_selector("#panel-image canvas.paint", alphas) == 45  # red is dimmed
    green.click()
    assert green.get_attribute("aria-pressed") == "false"
    assert painted(page) == 80 * 90
    page.mouse.move(0, 0)
    assert outline.evaluate("c => c.width") == 0
    page.click("text=Hide all")
    assert painted(page) == 0
    page.click("text=Show all")
    assert painted(page) == 80 * 120


def test_opacity_confidence_and_the_image_alone(page, files):
    upload(page, files / "stripes.png")
    slider = page.locator("#panel-image input[type=range]")
    slider.fill("25")
    opacity = "canvas => getComputedStyle(canvas).opacity"
    assert page.eval_on_selector("#panel-image canvas.paint", opacity) == "0.25"
    page.check("input[value=confidence]")
    assert painted(page) == 90 * 120
    read = "c => [...c.getContext('2d').getImageData(50, 5, 1, 1).data]"
    assert page.eval_on_selector("#panel-image canvas.paint", read) == [68, 1, 84, 255]  # viridis
    page.check("input[value=picture]")
    assert painted(page) == 0


def download(page, button):
    with page.expect_download() as expected:
        page.click(button)
    return expected.value.suggested_filename, expected.value.path()


def test_downloads(page, files):
    upload(page, files / "stripes.png")
    name, path = download(page, "#save-mask")
    mask = Image.open(path, formats=["PNG"])
    assert (name, mask.mode, mask.size) == ("stripes_labels.png", "P", (120, 90))
    expected = ColorPredictor.confident_label_map(
        None, np.asarray(Image.open(files / "stripes.png"))
    )
    np.testing.assert_array_equal(np.asarray(mask), expected[0])
    assert mask.getpalette()[3:6] == [255, 0, 0]
    name, path = download(page, "#save-overlay")
    overlay = np.asarray(Image.open(path, formats=["PNG"]).convert("RGB"), int)
    assert name == "stripes_overlay.png"
    assert abs(overlay[50, 100] - (0, 0.4 * 250 + 0.6 * 255, 0)).max() <= 2
    name, path = download(page, "#save-json")
    figures = json.loads(Path(path).read_text())
    assert (name, figures["height"], figures["width"]) == ("stripes.json", 90, 120)
    assert [(found["name"], found["index"]) for found in figures["classes"]] == [
        ("red", 1),
        ("green", 2),
        ("background", 0),
    ]
    assert figures["classes"][0]["share"] == pytest.approx(2 / 3)
    assert figures["classes"][0]["mean_confidence"] == pytest.approx(250 / 255)


def test_a_file_that_browsers_do_not_show(page, files):
    upload(page, files / "stripes.tif")
    assert [name for name, _ in legend(page)] == ["red", "green", "background"]


def test_bad_files_get_a_message_and_the_page_goes_on(page, files):
    page.set_input_files("#image-file", files / "notes.txt")
    page.wait_for_selector("#problem p")
    assert page.inner_text("#problem p") == (
        "notes.txt: not an image that can be read; expected BMP, GIF, JPEG, PNG, TIFF or WebP."
    )
    page.click("text=Close")
    assert page.inner_text("#problem") == ""
    page.click("#tab-video")
    page.set_input_files("#video-file", files / "broken.mp4")
    page.wait_for_selector("#problem p")
    assert page.inner_text("#problem p").startswith(
        "broken.mp4: the browser cannot play this video"
    )
    page.click("#tab-image")
    upload(page, files / "blue.png")
    assert legend(page) == [("blue", "100.0 %")]
    assert page.inner_text("#problem") == ""


def test_two_users_at_once(browser, url, files):
    contexts = [browser.new_context() for _ in range(2)]
    users = [context.new_page() for context in contexts]
    for user in users:
        user.goto(url)
        user.wait_for_selector("#samples img")
    for user, name in zip(users, ("stripes.png", "blue.png"), strict=True):
        user.set_input_files("#image-file", files / name)
    for user in users:
        user.wait_for_selector("#save-mask:enabled")
    assert [name for name, _ in legend(users[0])] == ["red", "green", "background"]
    assert [name for name, _ in legend(users[1])] == ["blue"]
    for context in contexts:
        context.close()


def test_the_keyboard_alone(page):
    names = "() => document.activeElement.textContent.trim() || document.activeElement.id"
    seen = []
    for _ in range(4):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(names))
    assert seen[:3] == ["Skip to the views", "Image", "image-file"]
    page.keyboard.press("Enter")  # the sample
    page.wait_for_selector("#save-mask:enabled")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.className") == "frame":
            break
    page.keyboard.press("ArrowRight")
    assert "row 30, column 44" in page.inner_text("#panel-image .readout")
    page.keyboard.press("Tab")
    assert page.evaluate(names) == "Hide all"
    page.keyboard.press("Tab")
    before = painted(page)
    page.keyboard.press("Space")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-pressed')") == "false"
    assert painted(page) < before
    page.focus("#tab-image")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(names) == "Camera and video"
    assert page.is_visible("#panel-video")
    page.keyboard.press("Home")
    assert page.is_visible("#panel-image")


def test_everything_has_a_name_for_a_screen_reader(page, files):
    upload(page, files / "stripes.png")
    tree = page.locator("body").aria_snapshot()
    for line in (
        '- button "red 66.7 %" [pressed]',
        '- tab "Image" [selected]',
        '- slider "Opacity": "60"',
        '- radio "Confidence"',
        '- button "Choose an image or drop it anywhere"',
        '- button "noise"',
        '- status: "stripes.png: 3 classes in',
    ):
        assert line in tree, tree
    nameless = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select, img, [role=application]')]"
        ".filter(e => e.checkVisibility())"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.hasAttribute('alt')"
        " || e.getAttribute('aria-label') || e.querySelector('img[alt]'))).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_two_models_are_compared(page, files):
    upload(page, files / "stripes.png")
    page.click("#tab-compare")
    page.wait_for_selector(".pairs td")
    assert page.locator(".pairs td").all_inner_texts() == ["green", "blue", "22.2 %"]
    assert "22.2 % of the pixels differ" in page.inner_text("#panel-compare")
    assert legend(page, "#panel-compare")[1:] == [
        ("green", "22.2 %  /  0.0 %"),
        ("blue", "0.0 %  /  22.2 %"),
        ("background", "11.1 %  /  11.1 %"),
    ]
    third = page.locator("#panel-compare canvas.paint").nth(2)
    assert third.evaluate(PAINTED) == 80 * 30


def test_a_position_is_explained(page, files):
    upload(page, files / "stripes.png")
    page.click("#tab-explain")
    page.wait_for_selector("#panel-explain figcaption strong")
    titles = page.locator("#panel-explain .maps figcaption strong").all_inner_texts()
    assert titles == [
        "Where the model is unsure",
        "Effective receptive field",
        *(f"Attention, level {bins}" for bins in (1, 2, 3, 6)),
    ]
    assert page.inner_text("#panel-explain .facts").startswith("At row 45, column 60: ")
    page.fill("#row", "12")
    page.fill("#column", "90")
    page.click("#position-form button")
    page.locator("#panel-explain .facts", has_text="At row 12, column 90").wait_for()
    page.locator("#panel-explain .frame").nth(3).click(position={"x": 12, "y": 12})
    page.locator("#panel-explain .facts", has_text=re.compile(r"^At row \d, column \d:")).wait_for()


def test_a_video_is_shown_frame_by_frame(page, files):
    import base64

    (files / "clip.webm").write_bytes(base64.b64decode(page.evaluate(RECORD)))
    sent = []
    page.on("request", lambda request: sent.append(request) if "/segment" in request.url else None)
    page.click("#tab-video")
    page.set_input_files("#video-file", files / "clip.webm")
    page.wait_for_selector("#pause:has-text('Go on')")  # at the end
    assert 4 <= len(sent) <= 9  # about one second in steps of 0.2
    assert {name for name, _ in legend(page, "#panel-video")} >= {"red", "blue"}
    assert page.inner_text("#panel-video .facts").startswith("clip.webm · model ")
    page.locator("#position").fill("0.4")
    page.locator("#position-text", has_text="0:00.4").wait_for()


def test_the_camera_starts_and_stops(page):
    page.click("#tab-video")
    page.click("#camera")
    page.wait_for_selector("#panel-video .legend li")
    assert page.inner_text("#camera") == "Stop the camera"
    page.click("#camera")
    assert page.inner_text("#camera") == "Start the camera"
    page.wait_for_timeout(300)
    sent = []
    page.on("request", lambda request: sent.append(request))
    page.wait_for_timeout(500)
    assert sent == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 380)])
def test_light_dark_and_narrow(browser, url, files, scheme, width):
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened = context.new_page()
    opened.goto(url)
    opened.wait_for_selector("#samples img")
    upload(opened, files / "stripes.png")
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, background[4:-1].split(","))) / 3
    assert (brightness > 200) if scheme == "light" else (brightness < 60)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    screenshot(opened, f"page_{scheme}_{width}.png")
    context.close()
