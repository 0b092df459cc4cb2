"""The lecture's scripts draw their pictures, and what they state is so."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.signal import correlate2d

import minigrad as mg
from minigrad import functional as F

LECTURE = Path(__file__).resolve().parent.parent / "examples" / "lecture"
SCRIPTS = sorted(path.stem for path in LECTURE.glob("[0-9]*.py"))
TRAINED = "09_class_activation", "10_mlp_vs_cnn"
DIFFERENCE = re.compile(r": +(?:largest difference )?(\d\.\de[+-]\d\d)$")


@pytest.fixture(scope="module")
def lecture(tmp_path_factory):
    """What a script is, prints and draws, each run once: `lecture(name)` has its module, its lines and its picture."""
    folder, found = tmp_path_factory.mktemp("lecture"), {}

    def run(name, capsys):
        if name not in found:
            spec = importlib.util.spec_from_file_location(f"lecture_{name}", LECTURE / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            out = folder / "new" / f"{name}.png"
            capsys.readouterr()
            module.main(["--out", str(out), *(["--epochs", "1"] if name in TRAINED else [])])
            *lines, last = capsys.readouterr().out.splitlines()
            assert last == f"picture: {out}"
            found[name] = SimpleNamespace(module=module, lines=lines, out=out)
        return found[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(LECTURE)
        yield run


@pytest.fixture
def script(lecture, capsys):
    return lambda name: lecture(name, capsys)


def differences(lines):
    """The numbers in which lines end that compare two ways."""
    return [float(match[1]) for match in map(DIFFERENCE.search, lines) if match]


def test_the_table_names_every_script_and_each_is_a_page():
    table = (LECTURE / "README.md").read_text()
    assert sorted(re.findall(r"\((\w+)\.py\)", table)) == SCRIPTS
    assert len(SCRIPTS) == 10
    assert all(len((LECTURE / f"{name}.py").read_text().splitlines()) <= 105 for name in SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_draws_a_picture(script, name):
    pixels = imread(script(name).out)[..., :3]
    height, width = pixels.shape[:2]
    assert width >= 800
    for half in (pixels[: height // 2], pixels[height // 2 :]):
        assert half[:, : width // 2].std() > 0.05
        assert half[:, width // 2 :].std() > 0.05


def test_a_script_runs_from_anywhere_without_warnings_and_draws_to_runs(tmp_path):
    call = [sys.executable, "-W", "error", LECTURE / "05_matrix.py"]
    done = subprocess.run(call, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"picture: {Path('runs', 'lecture', '05_matrix.png')}"
    assert imread(tmp_path / "runs" / "lecture" / "05_matrix.png").std() > 0.05


def test_filters_keep_the_brightness_or_see_only_changes_and_sharpening_is_one_of_them(script):
    ran = script("01_filters")
    x = ran.module.photograph()
    for name, y in ran.module.convolved(x).items():
        weights, divisor = ran.module.FILTERS[name]
        assert np.sum(weights) / divisor in (0, 1)
        assert np.allclose(y.numpy()[0, 0], correlate2d(x.numpy()[0, 0], np.array(weights) / divisor, "valid"))
    assert differences(ran.lines)[0] < 1e-14


def test_the_sums_approach_the_integral_and_correlation_is_convolution_with_the_filter_flipped(script):
    ran = script("02_convolution")
    *errors, flipped, layer = differences(ran.lines)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)
    assert flipped == layer == 0
    s = np.linspace(-4, 12, 160_001)
    for t in (-1.0, 0.3, 2.0):  # the dashed curve: what cross-correlation gives
        ahead = np.trapezoid(ran.module.pulse(t + s) * ran.module.echo(s), s)
        assert ahead == pytest.approx(float(ran.module.exact(1 - t)), abs=1e-3)


@pytest.mark.parametrize(
    ("size", "settings"), [(5, {}), (5, {"padding": 1}), (8, {"stride": 3, "padding": 2, "dilation": 2})]
)
def test_windows_stand_where_stride_padding_and_dilation_say(script, size, settings):
    module = script("03_windows").module
    stride, dilation = settings.get("stride", 1), settings.get("dilation", 1)
    windows = module.seen(size, **settings)
    assert len(windows) == module.count(size, 3, **settings)[0]
    for row, column in np.ndindex(windows.shape[:2]):
        expected = np.zeros(windows.shape[2:])
        rows, columns = (stride * place + dilation * np.arange(3) for place in (row, column))
        expected[np.ix_(rows, columns)] = 1
        assert np.array_equal(windows[row, column], expected)


def test_the_formula_counts_the_windows(script):
    for line in script("03_windows").lines:
        height, width, formula = re.search(r"(\d+) x (\d+) windows; the formula says (\d+)", line).groups()
        assert height == width == formula


def test_average_pooling_is_linear_and_max_pooling_changes_places_with_relu(script):
    convolution, averages, maxima, relu = differences(script("04_pooling").lines)
    assert convolution == averages == relu == 0
    assert maxima > 1


def test_a_convolution_is_a_matrix_with_nine_weights_in_144_places(script):
    ran = script("05_matrix")
    found = differences(ran.lines)
    assert len(found) == 4
    assert max(found) < 1e-14
    layer = ran.module.layers()["convolution"]
    values = ran.module.matrix(layer, mg.tensor(np.zeros((1, 1, 6, 6)))).reshape(4, 4, 6, 6)
    expected = np.zeros_like(values)
    for row, column in np.ndindex(4, 4):
        expected[row, column, row : row + 3, column : column + 3] = layer.weight.detach().numpy()
    assert np.array_equal(values, expected)


def test_convolution_is_equivariant_and_each_pooling_only_to_twice_as_large_shifts(script):
    module = script("06_equivariance").module
    conv, pooled, twice, everywhere = module.differences(module.moved_digits())
    assert not conv.any()
    assert not everywhere.any()
    assert (pooled > 0.1).tolist() == [bool(shift % 2) for shift in module.SHIFTS]
    assert (twice > 0.1).tolist() == [bool(shift % 4) for shift in module.SHIFTS]
    assert not pooled[::2].any()
    assert not twice[::4].any()


def test_backpropagation_sends_each_gradient_where_the_picture_says(script):
    ran = script("07_backward")
    assert differences(ran.lines) == [0, 0]
    assert sum(line.endswith("elements are right") for line in ran.lines) == 3
    module = ran.module
    x, dy = np.array(module.X), np.array(module.DY)
    blocks = x.reshape(2, 2, 2, 2).swapaxes(1, 2)  # the windows
    largest = (blocks == blocks.max(axis=(2, 3), keepdims=True)) * dy[:, :, None, None]
    quarters = np.ones_like(blocks) * dy[:, :, None, None] / 4
    for layer, expected in ((module.max_pool, largest), (module.avg_pool, quarters)):
        assert np.array_equal(module.backward(layer, module.leaf(x))["dx"], expected.swapaxes(1, 2).reshape(4, 4))


def test_1x1_convolution_mixes_the_channels_and_makes_the_next_layer_cheap(script):
    ran = script("08_conv1x1")
    assert differences(ran.lines)[0] < 1e-14
    x = ran.module.photograph().numpy()
    weight = np.array(list(ran.module.MIXTURES.values()))
    assert np.allclose(F.conv1x1(x, weight), np.einsum("kc,nchw->nkhw", weight, x))
    assert [sum(ran.module.costs(network).values()) for network in ran.module.NETWORKS] == [12_443_648, 120_422_400]


def test_the_mean_of_the_class_activation_map_is_the_score_but_for_the_bias(script):
    ran = script("09_class_activation")
    assert differences(ran.lines)[0] < 1e-5
    assert re.match(r"single digits: \d+\.\d% of the test set", ran.lines[0])


def test_dense_is_compared_with_convolution_in_a_table(script):
    names = "dense", "locally connected", "convolution", "global pooling"
    rows = [line for line in script("10_mlp_vs_cnn").lines if line.startswith(names)]
    parameters = [int(re.search(r"[\d,]+", row)[0].replace(",", "")) for row in rows]
    assert parameters == [1_010_314, 201_610, 16_330, 5_130]
    assert all(len(re.findall(r"[\d.]+%", row)) == 3 for row in rows)


def test_the_comparison_draws_a_line_per_network(script):
    results = {name: [0.9, 0.5, 0.2] for name in "abcd"}
    (axes,) = script("10_mlp_vs_cnn").module.picture(results).axes
    assert [line.get_label() for line in axes.lines] == list(results)
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1, 2]] * 4


def test_shifted_digits_lose_nothing_within_their_margin(script):
    module = script("10_mlp_vs_cnn").module
    digits = module.framed(mg.data.Split(np.ones((1, 1, 8, 8), np.float32), np.array([0])), module.MARGIN)
    seen = []

    class Spy(mg.nn.Module):
        def forward(self, x):
            seen.append(x.numpy()[0, 0])
            return mg.tensor(np.eye(1, 10))

    assert module.accuracy(Spy(), digits, 2) == 1
    for image, (top, left) in zip(seen, [(4, 2), (2, 4), (0, 2), (2, 0)], strict=True):
        assert image.sum() == image[top : top + 8, left : left + 8].sum() == 64
