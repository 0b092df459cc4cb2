"""The page to draw on: what its server answers and refuses, and how it behaves in a browser."""

import base64
import http.client
import importlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from small_classifiers import trained

import minigrad as mg
from minigrad.classifier import Classifier

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HERE = {"Host": "127.0.0.1:8000"}
THREE = [
    *[(0.3, 0.25), (0.5, 0.15), (0.68, 0.28), (0.6, 0.44), (0.48, 0.48)],
    *[(0.66, 0.55), (0.7, 0.7), (0.52, 0.84), (0.3, 0.76)],
]
ONE = [(0.5, 0.15), (0.5, 0.85)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
in_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")


@pytest.fixture(scope="module")
def draw():
    """The example as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("draw_digits")


@pytest.fixture(scope="module")
def classifier():
    return trained("cnn", "digits", mg.data.load("digits").train[:800], epochs=5)


@pytest.fixture(scope="module")
def client(draw, classifier):
    """Asks the application without a network."""
    return draw.application(classifier).test_client()


@pytest.fixture(scope="module")
def server(draw, classifier):
    """The server, running."""
    server = draw.serve(classifier, socket.create_server(("127.0.0.1", 0)))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.asyncore.close_all(server._map)  # which ends its loop
    server.task_dispatcher.shutdown()
    thread.join()


def line(side):
    """A drawing of a one, as the page sends it."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[40:-40, side // 2 - 10 : side // 2 + 10] = 255
    return pixels.tobytes()


def unpacked(maps):
    steps = np.frombuffer(base64.b64decode(maps["values"]), np.int8).reshape(maps["shape"])
    return steps * (maps["largest"] / 127)


def test_a_drawing_gives_probabilities_the_image_seen_and_every_layer(draw, client, classifier):
    answer = client.post("/look", data=line(draw.SIDE), headers=HERE)
    assert answer.status_code == 200
    seen = answer.json
    image = unpacked(seen["image"])
    assert image.shape == classifier.shape
    assert image[0].any(1).all()  # it fills the rows, as embedded digits do
    (probabilities,) = classifier.probabilities(image[None].astype(np.float32))
    np.testing.assert_allclose(seen["probabilities"], probabilities, atol=0.02)
    assert np.argmax(seen["probabilities"]) == 1
    names = "Conv2d ReLU Conv2d ReLU MaxPool2d BatchNorm2d Conv2d ReLU Conv2d ReLU MaxPool2d BatchNorm2d Conv1x1"
    assert [layer["name"] for layer in seen["layers"]] == [*names.split(), "GlobalAvgPool2d"]
    assert unpacked(seen["layers"][1]).min() == 0
    assert unpacked(seen["layers"][0]).min() < 0


def test_the_mean_of_a_class_map_and_the_bias_is_the_score(draw, client, classifier):
    seen = client.post("/look", data=line(draw.SIDE), headers=HERE).json
    maps, scores = unpacked(seen["class_maps"]), unpacked(seen["layers"][-1])[:, 0, 0]
    bias = classifier.model[12].bias.detach().numpy()
    rounding = (seen["class_maps"]["largest"] + seen["layers"][-1]["largest"]) / 254
    np.testing.assert_allclose(maps.mean((1, 2)) + bias, scores, atol=rounding + 1e-4)


def test_a_model_without_global_average_pooling_says_why_it_has_no_class_maps(draw):
    classifier = Classifier("mlp", (1, 28, 28), tuple("0123456789"), "mnist")
    seen = draw.application(classifier).test_client().post("/look", data=line(draw.SIDE), headers=HERE).json
    assert "class_maps" not in seen
    assert seen["no_class_maps"].startswith("need a model that ends in")
    assert seen["layers"][0]["shape"] == [128, 1, 1]


@pytest.mark.parametrize("path", ["/", "/page.js", "/style.css", "/icon.svg", "/model"])
def test_the_page_and_its_parts_are_served_under_a_strict_policy(client, path):
    with client.get(path, headers=HERE) as answer:
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com:8000", "0.0.0.0", "", "localhost.example"])
@pytest.mark.parametrize("path", ["/", "/model", "/look"])
def test_other_hosts_are_refused(draw, client, host, path):
    answer = client.open(
        path, method="POST" if path == "/look" else "GET", data=line(draw.SIDE), headers={"Host": host}
    )
    assert answer.status_code == 400
    assert "probabilities" not in answer.json


def test_this_machines_names_are_not_refused(client):
    for host in ("127.0.0.1", "127.0.0.1:5", "localhost:8000"):
        assert client.get("/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("drawing", "status", "reason"),
    [
        (lambda side: b"", 400, "need 280 x 280 bytes, got 0"),
        (lambda side: line(side)[1:], 400, "got 78399"),
        (lambda side: line(side) + b"1", 413, "exceeds the capacity limit"),
        (lambda side: bytes(side * side), 422, "nothing is drawn"),
    ],
)
def test_what_is_no_drawing_is_refused_with_the_reason(draw, client, drawing, status, reason):
    answer = client.post("/look", data=drawing(draw.SIDE), headers=HERE)
    assert answer.status_code == status
    assert reason in answer.json["error"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_files_outside_the_page_are_not_served(client):
    for path in ("/../draw_digits.py", "/%2e%2e/draw_digits.py", "//etc/passwd", "/draw_digits.py"):
        assert client.get(path, headers=HERE).status_code == 404


def test_the_server_listens_on_this_machine_alone_and_refuses_a_long_body_unread(server):
    assert server.socket.getsockname() == ("127.0.0.1", int(server.effective_port))
    connection = http.client.HTTPConnection("127.0.0.1", server.effective_port, timeout=20)
    connection.putrequest("POST", "/look")
    connection.putheader("Content-Length", "1000000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_without_a_model_one_is_trained_and_kept(draw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(mg.training, "fit", lambda model, batches, **_: calls.append((model, batches)))
        first = draw.at_hand()
        again = draw.at_hand()
    assert len(calls) == 1
    assert calls[0][0] is first.model
    assert calls[0][1].samples == 1437
    assert "training a small one" in capsys.readouterr().out
    assert (again.name, again.shape, again.data) == ("cnn", (1, 28, 28), "digits")
    for name, weights in first.model.state_dict().items():
        np.testing.assert_array_equal(weights.numpy(), again.model.state_dict()[name].numpy())


def test_a_missing_model_or_a_port_that_cannot_be_had_ends_with_a_message(draw, server, tmp_path, capsys):
    for arguments, reason in (
        (["--model", str(tmp_path / "none.safetensors")], "none.safetensors"),
        (["--port", str(server.effective_port)], "in use"),
        (["--port", "70000"], "need 0 to 65535"),
    ):
        with pytest.raises(SystemExit, match="2"):
            draw.main(["--no-browser", *arguments])
        assert reason in capsys.readouterr().err


def test_the_script_prints_its_address_serves_there_and_ends_at_ctrl_c(classifier, tmp_path):
    classifier.save(tmp_path / "model.safetensors")
    command = [sys.executable, EXAMPLES / "draw_digits.py", "--model", tmp_path / "model.safetensors", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            port = int(re.match(r"draw at http://127\.0\.0\.1:(\d+)/ ", process.stdout.readline())[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/model")
            assert json.load(connection.getresponse())["data"] == "digits"
            connection.close()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "no-first-run",
        "window-size=1200,900",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, server):
    """The page, anew, in a browser."""
    for log in ("browser", "performance"):
        browser.get_log(log)  # which also empties it
    browser.get(f"http://127.0.0.1:{server.effective_port}/")
    eventually(browser, lambda: browser.find_element(By.ID, "model").text.startswith("Model cnn"))
    return browser


def eventually(browser, condition):
    WebDriverWait(browser, 60, 0.05).until(lambda _: condition())


def reads(page, text):
    eventually(page, lambda: page.find_element(By.ID, "prediction").text == text)


def stroke(page, points):
    """What a pointer does to draw a line, but for lifting it in the end."""
    board = page.find_element(By.ID, "board")
    steps = [(int((x - 0.5) * board.rect["width"]), int((y - 0.5) * board.rect["height"])) for x, y in points]
    actions = ActionChains(page, duration=5).move_to_element_with_offset(board, *steps[0]).click_and_hold()
    for step in steps[1:]:
        actions.move_to_element_with_offset(board, *step)
    return actions


@in_browser
def test_a_drawn_three_is_read_with_its_probabilities_layers_and_class_maps(page):
    stroke(page, THREE).release().perform()
    reads(page, "3")
    values = [float(value.text.removesuffix(" %")) for value in page.find_elements(By.CSS_SELECTOR, "#bars .value")]
    assert sum(values) == pytest.approx(100, abs=1)
    assert np.argmax(values) == 3
    widths = [bar.size["width"] for bar in page.find_elements(By.CSS_SELECTOR, "#bars .bar")]
    assert np.argmax(widths) == 3
    layers = page.find_elements(By.CSS_SELECTOR, "#layers figure")
    assert len(layers) == 14
    assert layers[0].text == "0 Conv2d 32 maps of 8 x 8, up to " + layers[0].text.rpartition(" ")[2]
    assert page.find_element(By.CSS_SELECTOR, "#class-maps .first figcaption").text == "3"
    assert len(page.find_elements(By.CSS_SELECTOR, "#class-maps figure")) == 10
    assert page.execute_script(
        "return [...document.querySelectorAll('canvas')].every((canvas) => canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data.some((value, i, all) => value !== all[i % 4]))"
    )


@in_browser
def test_the_prediction_comes_while_one_draws_and_also_by_touch(page):
    held = stroke(page, ONE)
    held.perform()
    reads(page, "1")
    held.reset_actions()
    page.find_element(By.ID, "clear").click()
    reads(page, "nothing yet")
    finger = ActionBuilder(page, mouse=PointerInput(POINTER_TOUCH, "finger"), duration=5)
    board = page.find_element(By.ID, "board").rect
    places = [(int(board["x"] + x * board["width"]), int(board["y"] + y * board["height"])) for x, y in THREE]
    finger.pointer_action.move_to_location(*places[0]).pointer_down()
    for place in places[1:]:
        finger.pointer_action.move_to_location(*place)
    finger.pointer_action.pointer_up()
    finger.perform()
    reads(page, "3")


@in_browser
def test_keys_clear_and_undo_and_an_undone_clearing_brings_the_drawing_back(page):
    clear, undo = (page.find_element(By.ID, name) for name in ("clear", "undo"))
    assert not clear.is_enabled()
    assert not undo.is_enabled()
    stroke(page, ONE).release().perform()
    reads(page, "1")
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    reads(page, "nothing yet")
    assert not clear.is_enabled()
    ActionChains(page).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    reads(page, "1")
    undo.click()
    reads(page, "nothing yet")
    assert not undo.is_enabled()


@in_browser
def test_clearing_in_the_middle_of_a_stroke_ends_the_stroke(page):
    stroke(page, ONE).send_keys(Keys.ESCAPE).move_by_offset(20, -20).release().perform()
    reads(page, "nothing yet")
    assert not page.find_element(By.ID, "clear").is_enabled()
    assert page.get_log("browser") == []


@in_browser
def test_no_request_leaves_and_nothing_is_complained_of(page, server):
    stroke(page, ONE).release().perform()
    reads(page, "1")
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    own = f"http://127.0.0.1:{server.effective_port}/"
    assert {own, f"{own}page.js", f"{own}style.css", f"{own}look"} <= asked
    assert all(url.startswith(own) for url in asked), asked
    assert page.get_log("browser") == []


@in_browser
def test_the_browser_lets_no_script_ask_another_address(page, server):
    blocked = page.execute_async_script(
        "document.addEventListener('securitypolicyviolation', (event) => arguments[1](event.effectiveDirective));"
        "fetch(arguments[0]).catch(() => {});",
        f"http://localhost:{server.effective_port}/model",
    )
    assert blocked == "connect-src"


@in_browser
def test_what_goes_wrong_is_told_on_the_page_until_it_goes_well_again(page):
    error = page.find_element(By.ID, "error")
    assert not error.is_displayed()
    page.execute_cdp_cmd("Network.enable", {})
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **offline})
    stroke(page, ONE).release().perform()
    eventually(page, error.is_displayed)
    assert error.text == "The server does not answer. Was it ended?"
    page.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **offline})
    stroke(page, [(0.4, 0.3), (0.5, 0.15)]).release().perform()
    eventually(page, lambda: not error.is_displayed())
    assert page.find_element(By.ID, "prediction").text != "nothing yet"
