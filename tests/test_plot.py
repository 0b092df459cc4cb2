"""Pictures by their content: what is drawn where, and what is written there."""

import importlib
import itertools
import shutil
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import minigrad as mg
from minigrad import functional as F, interpret, nn, plot
from minigrad.plot import figures
from minigrad.plot.canvas import sheet

rng = np.random.default_rng(0)
IMAGES = rng.random((5, 1, 8, 8), np.float32)
LABELS = np.array([0, 1, 0, 1, 0])
SCORES = np.array([[3, 0], [0, 3], [0, 1], [2, 0], [3, 0]], np.float32)  # 2 and 3 are wrong, 3 with more confidence
HISTORY = [
    {"epoch": i, "loss": 1 / i, "accuracy": 0.8, "validation_loss": 2 / i, "validation_accuracy": 0.7, "seconds": 1.0}
    for i in (1, 2, 3)
]
CLASSES = "ankle boot", "bag", "coat"


@pytest.fixture
def ax():
    return Figure(figsize=(6, 6)).subplots()


@pytest.fixture
def model():
    """A network with a row of classes for which there are class activation maps."""
    mg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv1x1(4, 3), nn.GlobalAvgPool2d(), nn.Flatten()
    )


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("agg")
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pixels(ax):
    """The image on the axes, with NaN where nothing is."""
    return np.ma.filled(ax.images[-1].get_array().astype(float), np.nan)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def pictures(model):
    """A call of every function, without its axes."""
    counts = np.array([[500, 3, 0], [0, 600, 20], [1, 0, 700]])
    loss = F.cross_entropy(model(IMAGES), LABELS)
    return {
        "learning_curves": lambda ax: plot.learning_curves(HISTORY, ax),
        "confusion_matrix": lambda ax: plot.confusion_matrix(counts, classes=CLASSES, ax=ax),
        "misclassified": lambda ax: plot.misclassified(IMAGES[LABELS], LABELS, SCORES[LABELS], CLASSES[:2], ax),
        "filters": lambda ax: plot.filters(model, ax),
        "activations": lambda ax: plot.activations(model, IMAGES[0], ax),
        "class_activation_map": lambda ax: plot.class_activation_map(model, IMAGES[0], None, CLASSES, ax),
        "class_activation_map of all": lambda ax: plot.class_activation_map(model, IMAGES[0], range(3), CLASSES, ax),
        "saliency": lambda ax: plot.saliency(model, IMAGES[0], None, CLASSES, ax),
        "graph": lambda ax: plot.graph(loss, model, ax),
    }


NAMES = [
    *("learning_curves", "confusion_matrix", "misclassified", "filters", "activations", "class_activation_map"),
    *("class_activation_map of all", "saliency"),
    pytest.param("graph", marks=pytest.mark.skipif(not shutil.which("dot"), reason="needs Graphviz")),
]


@pytest.fixture
def written(monkeypatch):
    """Draws the figure of axes; what is written there, none of which meets another, and where."""
    write = Text.draw
    found = []

    def draw(text, renderer):
        write(text, renderer)
        if text.get_visible() and text.get_text():
            found.append((text.get_text(), text.get_window_extent(renderer)))

    def look(ax):
        found.clear()
        ax.figure.draw_without_rendering()
        for (one, box), (other, its) in itertools.combinations(found, 2):
            assert not box.padded(-1).overlaps(its.padded(-1)), f"{one!r} meets {other!r}"
        return found

    monkeypatch.setattr(Text, "draw", draw)
    return look


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_drawn_on_the_axes_given_and_no_text_meets_another(name, model, ax, monkeypatch, written):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # as for a training script
    assert pictures(model)[name](ax) is ax
    assert ax.get_title() or ax.child_axes
    assert written(ax)


@pytest.mark.parametrize("name", NAMES)
def test_without_axes_pictures_make_their_own_and_no_text_leaves_them(name, model, written):
    ax = pictures(model)[name](None)
    for text, box in written(ax):
        assert ax.figure.bbox.padded(2).contains(box.x0, box.y0), f"{text!r} leaves the figure"
        assert ax.figure.bbox.padded(2).contains(box.x1, box.y1), f"{text!r} leaves the figure"


def test_captions_fit_below_and_beside_each_other_however_long_they_are(ax, model, written):
    many = np.zeros(25, int)
    names = "a Bernese mountain dog", "a soft-coated wheaten terrier"
    plot.misclassified(np.zeros((25, 1, 8, 8)), many, np.eye(2)[many + 1], names, ax)
    assert len(written(ax)) == 26
    small = Figure(figsize=(3, 3)).subplots()
    plot.activations(nn.Sequential({"a_long_name_of_a_layer": model}), IMAGES[0], small)
    assert len(written(small)) == 7


def test_learning_curves_are_loss_and_accuracy_on_training_and_validation_images(ax):
    loss, accuracy = plot.learning_curves(HISTORY, ax).child_axes
    assert [panel.get_title() for panel in (loss, accuracy)] == ["Loss", "Accuracy"]
    for panel, key in ((loss, "loss"), (accuracy, "accuracy")):
        training, validation = panel.lines
        assert [line.get_label() for line in panel.lines] == ["training", "validation"]
        assert training.get_xydata().tolist() == [[row["epoch"], row[key]] for row in HISTORY]
        assert validation.get_ydata().tolist() == [row[f"validation_{key}"] for row in HISTORY]
        assert training.get_color() != validation.get_color()
        assert (training.get_linestyle(), training.get_marker()) != (
            validation.get_linestyle(),
            validation.get_marker(),
        )
    assert loss.get_yscale() == "log"
    assert accuracy.yaxis.get_major_formatter()(0.7) == "70.0%"


def test_one_quantity_is_drawn_into_the_axes_and_what_a_row_lacks_is_left_out(ax):
    history = [
        {"epoch": 1, "loss": 0.5, "top_5": 0.2},
        {"epoch": 2, "loss": 0.0, "validation_loss": None},
        {"epoch": 4},
    ]
    plot.learning_curves(history, ax)
    assert not ax.child_axes
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[1, 0.5], [2, 0]]]
    assert ax.get_yscale() == "linear"  # a logarithm would lose the zero
    diverged = [{"epoch": 1, "loss": np.nan, "accuracy": 0.1}, {"epoch": 2, "loss": np.inf, "accuracy": 0.1}]
    plot.learning_curves(diverged, Figure().subplots()).figure.draw_without_rendering()
    other = plot.learning_curves(history, Figure().subplots(), quantity="top_5")
    assert (other.get_title(), other.get_ylabel()) == ("Top 5", "top 5")
    assert other.lines[0].get_xydata().tolist() == [[1, 0.2]]


@pytest.mark.parametrize(
    ("history", "quantity", "message"),
    [
        ([], None, "need rows with loss or accuracy, got 0"),
        ([{"epoch": 1, "lr": 1}], None, "need rows with loss or accuracy, got 1 with epoch, lr"),
        ([{"epoch": 1, "loss": 1}], "top_5", "need rows with top_5, got 1 with epoch, loss"),
    ],
)
def test_learning_curves_says_what_a_history_lacks(history, quantity, message):
    with pytest.raises(ValueError, match=f"learning_curves: {message}"):
        plot.learning_curves(history, quantity=quantity)


def test_a_confusion_matrix_counts_each_pair_and_colours_mistakes_alone(ax):
    labels, predicted = np.array([0, 0, 1, 1, 1, 2], np.uint8), [0, 2, 1, 2, 2, 2]
    plot.confusion_matrix(labels, predicted, CLASSES, ax)
    assert ax.get_title() == "3 of 6 images mistaken"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "1", (1, 1): "1", (2, 2): "1", (2, 0): "1", (2, 1): "2"}
    nothing = np.nan
    expected = [[nothing, nothing, 1], [nothing, nothing, 2], [nothing, nothing, nothing]]
    assert np.array_equal(pixels(ax), expected, equal_nan=True)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(CLASSES)
    again = plot.confusion_matrix([[1, 0, 1], [0, 1, 2], [0, 0, 1]], ax=Figure().subplots())
    assert sorted(texts(again)) == sorted(texts(ax))
    assert [label.get_text() for label in again.get_yticklabels()] == ["0", "1", "2"]


def test_a_confusion_matrix_of_nothing_or_of_many_classes_can_be_drawn(ax, tmp_path):
    plot.confusion_matrix([], [], CLASSES, ax)
    assert ax.get_title() == "0 of 0 images mistaken"
    many = plot.confusion_matrix(np.eye(62, dtype=int), ax=Figure().subplots())
    assert not texts(many)
    many.figure.savefig(tmp_path / "many.png")


@pytest.mark.parametrize(
    ("error", "arguments", "message"),
    [
        (ValueError, ([0, 1],), r"need labels and predicted, or counts \(K, K\), got \(2,\)"),
        (ValueError, ([0, 1], [0]), r"need labels \(N,\) and predicted \(N,\), got \(2,\) and \(1,\)"),
        (ValueError, ([0, 1], [0, 1, 2]), r"got \(2,\) and \(3,\)"),
        (ValueError, ([0, -1], [0, 1]), "need classes from 0, got -1"),
        (ValueError, ([0, 3], [0, 1], CLASSES), "need 4 names, got 3"),
        (TypeError, ([0.5], [0]), "need integers, got float64"),
        (TypeError, ([[1.0]],), "need integers, got float64"),
    ],
)
def test_a_confusion_matrix_refuses_what_are_no_classes(error, arguments, message, ax):
    with pytest.raises(error, match=message):
        plot.confusion_matrix(*arguments, ax=ax)


def test_misclassified_images_stand_below_captions_with_the_surest_first(ax):
    plot.misclassified(IMAGES, LABELS, SCORES, ("one", "two"), ax)
    assert ax.get_title() == "2 mistaken images"
    assert texts(ax) == ["two read as one\n88% sure", "one read as two\n73% sure"]
    places = [text.get_position() for text in ax.texts]
    width = round(places[1][0] - places[0][0]) * 10 // 11  # a tenth between two images
    for image, (x, y) in zip(IMAGES[[3, 2], 0], places, strict=True):
        top, left, step = round(y + 0.5), round(x - width / 2 + 0.5), width // 8
        assert np.array_equal(pixels(ax)[top : top + width : step, left : left + width : step], image)


def test_at_most_25_mistakes_are_drawn_and_none_can_be(ax):
    many = np.zeros(30, int)
    plot.misclassified(np.zeros((30, 3, 8, 8)), many, np.eye(2)[many + 1], ax=ax)
    assert ax.get_title() == "25 of 30 mistaken images, the surest first"
    assert len(ax.texts) == 25
    right = plot.misclassified(IMAGES[:2], LABELS[:2], SCORES[:2], ax=Figure().subplots())
    assert right.get_title() == "No mistaken images"
    right.figure.draw_without_rendering()
    with pytest.raises(ValueError, match=r"need images \(N, C, H, W\) and labels \(N,\), got \(5, 8, 8\) and \(5,\)"):
        plot.misclassified(IMAGES[:, 0], LABELS, SCORES)


def test_each_tile_of_a_sheet_keeps_its_place_and_the_rest_is_empty():
    tiles = np.arange(1, 5 * 6 + 1, dtype=np.float32).reshape(5, 3, 2) / 30
    pixels, places, width, above = sheet(tiles, least=2, gap=(0.5, 0.5))
    assert (width, above) == (40, 30)
    assert pixels.shape == (2 * (30 + 60), 3 * (20 + 40) - 20)  # 20 pixels for each of a tile's
    for i, (tile, (y, x)) in enumerate(zip(tiles, places, strict=True)):
        top, left = 30 + i // 3 * 90, i % 3 * 60
        assert (y, x) == (top - 0.5, left + 19.5)
        assert np.array_equal(pixels[top + 10 : top + 60 : 20, left + 10 : left + 40 : 20], tile)
    assert np.isnan(pixels).sum() == pixels.size - 5 * 60 * 40


def test_filters_are_drawn_each_on_its_own_scale_with_zero_in_the_middle(ax, model):
    plot.filters(model, ax)
    assert ax.get_title() == "4 filters of the first layer (bright +, grey 0, dark \N{MINUS SIGN})"
    assert ax.images[0].get_clim() == (-1, 1)
    weight = model[0].weight.data[:, 0]
    shown = sheet(weight / np.abs(weight).max(axis=(1, 2), keepdims=True), least=3).pixels
    assert np.array_equal(pixels(ax), shown, equal_nan=True)


def test_filters_come_from_weights_too_of_dense_layers_by_the_shape_of_images_and_at_most_32(ax):
    weights = rng.normal(size=(40, 3, 2, 2))
    weights[0] = 0
    plot.filters(weights, ax)
    assert ax.get_title().startswith("32 of 40 filters (")
    assert (pixels(ax)[7:60, :60] == 0).all()  # nothing was divided by zero
    dense = plot.filters(nn.Linear(24, 5), Figure().subplots(), shape=(1, 4, 6))
    assert dense.get_title().startswith("5 filters of the first layer")
    with pytest.raises(ValueError, match=r"filters: need a model or weights \(K, C, FH, FW\), got \(5, 24\)"):
        plot.filters(np.ones((5, 24)))


def test_activations_are_rows_of_maps_and_cells_named_by_layer(ax):
    mg.manual_seed(0)
    parts = nn.Conv2d(1, 20, 3), nn.MaxPool2d(2), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Dropout(), nn.Linear(20, 3)
    model = nn.Sequential({"features": nn.Sequential(*parts[:2]), "end": nn.Sequential(*parts[2:])})
    plot.activations(model, IMAGES[0], ax)
    assert texts(ax) == [
        "image\n1 map, 8 x 8",
        "features.0 Conv2d\n16 of 20 maps, 6 x 6",
        "features.1 MaxPool2d\n16 of 20 maps, 3 x 3",
        "end.0 GlobalAvgPool2d\n20 values",
        "end.3 Linear\n3 values",
    ]
    shown, outputs = pixels(ax), interpret.activations(model, IMAGES[:1])
    middles = [round(text.get_position()[1]) for text in ax.texts]
    for middle, path in zip(middles[1:3], ("features.0", "features.1"), strict=True):
        maps = outputs[path][0]
        scale = np.quantile(np.abs(maps), 0.99)
        for k in (0, 15):
            left, size = k * 70, maps.shape[1]
            centres = (np.arange(size) + 0.5) * 64 / size
            tile = shown[np.ix_((middle - 32 + centres).astype(int), (left + centres).astype(int))]
            assert tile == pytest.approx(maps[k] / scale, rel=1e-5)
    last = outputs["end.3"][0]
    assert shown[middles[-1], [20, 60, 100]] == pytest.approx(last / np.quantile(np.abs(last), 0.99), rel=1e-5)
    assert np.isnan(shown[middles[-1], 3 * 40 :]).all()


def test_a_class_activation_map_is_drawn_over_the_image_and_its_title_is_the_sum(ax, model):
    maps, scores = interpret.class_activation_maps(model, IMAGES[:1])[0], interpret.scores(model, IMAGES[:1])[0]
    plot.class_activation_map(model, IMAGES[0], 2, (*CLASSES[:2], "T-shirt"), ax)
    assert np.array_equal(pixels(ax), mg.data.resize(maps[None, 2:], (120, 120))[0, 0])
    assert ax.images[0].get_clim() == pytest.approx((-np.abs(maps[2]).max(), np.abs(maps[2]).max()))
    sums = ax.get_title().removeprefix("Evidence for T-shirt: mean ").replace("\N{MINUS SIGN}", "-")
    mean, bias, score = (float(word) for word in sums.split() if word[-1].isdigit())
    assert [mean, bias, score] == pytest.approx([maps[2].mean(), model[3].bias.data[2], scores[2]], abs=0.006)
    (outline,) = ax.collections
    assert len(outline.get_paths()[0].vertices) > 20
    predicted = plot.class_activation_map(model, IMAGES[0], ax=Figure().subplots())
    assert predicted.get_title().startswith(f"Evidence for {scores.argmax()}: ")


def test_several_class_activation_maps_have_one_scale_and_captions(ax, model):
    plot.class_activation_map(model, IMAGES[0], [0, 2], CLASSES, ax)
    maps, scores = interpret.class_activation_maps(model, IMAGES[:1])[0], interpret.scores(model, IMAGES[:1])[0]
    captions = [f"{CLASSES[k]}: score {scores[k]:.2f}".replace("-", "\N{MINUS SIGN}") for k in (0, 2)]
    assert texts(ax) == captions
    assert ax.images[0].get_clim()[1] == pytest.approx(np.abs(maps[[0, 2]]).max())
    empty = plot.class_activation_map(model, np.zeros((1, 8, 8), np.float32), ax=Figure().subplots())
    assert not empty.collections  # nothing is brighter than half


def test_saliency_is_drawn_pixel_by_pixel_from_zero(ax, model):
    plot.saliency(model, IMAGES[0], 1, CLASSES, ax)
    slopes = interpret.saliency(model, IMAGES[:1], 1)[0]
    assert ax.get_title() == "Pixels that matter to the score of bag"
    assert np.array_equal(pixels(ax), slopes.repeat(15, axis=0).repeat(15, axis=1))
    assert ax.images[0].get_clim() == pytest.approx((0, slopes.max()))


@pytest.mark.parametrize("draw", [plot.activations, plot.class_activation_map, plot.saliency])
def test_one_image_is_drawn_at_a_time(draw, model, ax):
    draw(model, IMAGES[:1], ax=ax)
    for wrong in (IMAGES[:2], IMAGES[0, 0], IMAGES[:0]):
        with pytest.raises(ValueError, match=rf"{draw.__name__}: need one image \(C, H, W\), got \({wrong.shape[0]}, "):
            draw(model, wrong, ax=ax)


@pytest.mark.parametrize("target", [3, [], [0, -1], "0"])
def test_a_class_that_the_model_does_not_have_has_no_map(target, model):
    with pytest.raises(ValueError, match="class_activation_map: need classes from 0 to below 3, got "):
        plot.class_activation_map(model, IMAGES[0], target)


def test_the_figures_of_a_training_are_composed_of_these_without_pyplot(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    test = mg.data.Split(IMAGES, LABELS)
    training = figures.training(HISTORY, test, SCORES, CLASSES, "a title")
    assert training.get_suptitle() == "a title"
    assert [ax.get_title() for ax in training.axes] == ["Loss", "Accuracy", "2 of 5 images mistaken"]
    digits = figures.digits(model, test, SCORES, CLASSES, "a title")
    assert digits.get_suptitle() == "a title"
    assert [ax.get_title()[:9] for ax in digits.axes] == ["4 filters", "2 mistake"]


def small():
    x = mg.tensor(np.ones((2, 3), np.float32))
    layer = nn.Linear(3, 2)
    return F.relu(layer(x)) * x.sum(), layer, x


SMALL = r"""
  leaf0 [label="images\n(2, 3)", style=dashed]
  leaf1 [label="a \"b\\\n(2, 3)", style=filled, fillcolor="#cce3f0"]
  leaf2 [label="leaf\n(2,)", style=filled, fillcolor="#cce3f0"]
  leaf3 [label="constant\n()", style=dashed]
  call0 [label="linear\n(2, 2)\nkeeps x, w", style=rounded]
  call1 [label="relu\n(2, 2)\nkeeps output", style=rounded]
  call2 [label="multiply\n(2, 2)\nkeeps a", style=rounded]
  output [label="output", style=bold]
  leaf0 -> call0
  leaf1 -> call0
  leaf2 -> call0
  call0 -> call1
  call1 -> call2
  leaf3 -> call2
  call2 -> output
}
"""


def test_the_graph_as_text_has_every_call_with_what_it_gave_and_keeps_and_quotes_names():
    y, layer, x = small()
    text = plot.dot(y, {'a "b\\': layer.weight, "images": x})
    assert text.startswith("digraph {\n")
    assert text.endswith(SMALL)
    y, layer, x = small()
    assert plot.dot(y, {'a "b\\': layer.weight, "images": x}) == text
    named = plot.dot(y, nn.Sequential(layer))
    assert r'"0.weight\n(2, 3)"' in named
    y.backward(np.ones((2, 2), np.float32))
    assert plot.dot(y).count("freed") == 3


def test_a_tensor_used_twice_stands_in_the_graph_once_and_other_arrays_that_are_kept_are_told(model):
    x = mg.tensor([1.0], requires_grad=True)
    text = plot.dot(x * x)
    assert text.count("leaf0 -> call0") == 2
    assert text.count("style=filled") == 1
    assert r'multiply\n(1,)\nkeeps a"' in text
    assert r"\nkeeps x, w, output, uint8 (5, 4, 4, 4)" in plot.dot(model[:3](IMAGES))
    for _ in range(3000):
        x = x + 1
    assert plot.dot(x).count("->") == 3001


@pytest.mark.skipif(not shutil.which("dot"), reason="needs Graphviz")
def test_graphviz_reads_the_text_as_it_is_meant():
    y, layer, _ = small()
    nasty = 'a "b\\ \\n {x|y} <z> é'
    done = subprocess.run(
        ["dot", "-Tplain"], input=plot.dot(y, {nasty: layer.weight}).encode(), capture_output=True, check=True
    )
    assert not done.stderr
    rows = done.stdout.decode().splitlines()
    assert sum(row.startswith("node ") for row in rows) == 8
    assert sum(row.startswith("edge ") for row in rows) == 7


def test_a_graph_without_the_program_or_without_history_is_a_clear_error(monkeypatch, tmp_path):
    y, _, x = small()
    with pytest.raises(ValueError, match="dot: this tensor has no history"):
        plot.graph(x)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"graph: needs the program dot of Graphviz.*apt-get install graphviz"):
        plot.graph(y)


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("minigrad.plot")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r'mg.plot needs matplotlib.*python -m pip install "matplotlib"'):
        importlib.import_module("minigrad.plot")
