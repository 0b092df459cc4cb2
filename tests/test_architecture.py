"""The structure is as the documents say: layers, public names, each name once."""

import ast
from pathlib import Path

import pytest

import minigrad as mg

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("minigrad/**/*.py"), *ROOT.glob("kernels/*.py")])

# From the bottom up; a module may import from its own layer and from those before it.
LAYERS = [
    {"kernels"},
    {"hooks", "dtypes", "kinds", "extras", "files", "memory", "random", "data", "trail"},
    {"modes", "shards"},
    {"tape"},
    {"op"},
    {"ops"},
    {"methods"},
    {"tensor"},
    {"autograd", "serialize", "profiler"},
    {"functional"},
    {"nn", "optim"},
    {"distributed"},
    {"geometry", "interpret", "models", "training"},
    {"classifier", "onnx", "plot"},
    {"gradcheck"},
    {"testing"},
    {"warmup"},
    {"doctor"},
    {"cli"},
    {"__main__"},
]
RANK = {name: i for i, layer in enumerate(LAYERS) for name in layer}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def layer_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "kernels" if parts[0] == "kernels" else parts[1]


def imported(path):
    """Layers of minigrad that a file imports, also inside functions, but not for type checkers alone."""
    tree = ast.parse(path.read_text())
    for_types = {id(n) for i in ast.walk(tree) if is_type_checking(i) for n in ast.walk(i)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "minigrad":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            yield from (n[1] for n in names if n[0] == "minigrad" and len(n) > 1)


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p) != "minigrad/__init__.py"], ids=relative)
def test_imports_point_downward(path):
    own = layer_of(path)
    assert own in RANK, f"{path}: give its layer a place in LAYERS"
    for other in imported(path):
        assert RANK[other] <= RANK[own], f"{own} imports {other}, which stands above it"


def test_only_the_tape_walks_history():
    """Nobody else follows edges from node to node."""
    for path in SOURCES:
        if path.name != "tape.py":
            attributes = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
            assert not ("edges" in attributes and "target" in attributes) or path.name == "op.py", path


@pytest.mark.parametrize("path", [*SOURCES, *sorted(ROOT.glob("tests/**/*.py"))], ids=relative)
def test_a_name_is_defined_once(path):
    """Of two tests of one name in a scope, the first never runs."""
    for scope in ast.walk(ast.parse(path.read_text())):
        if isinstance(scope, (ast.Module, ast.ClassDef)):
            names = [
                d.name
                for d in scope.body
                if isinstance(d, (ast.FunctionDef, ast.ClassDef))
                and not any("overload" in ast.dump(x) or "setter" in ast.dump(x) for x in d.decorator_list)
            ]
            assert len(names) == len(set(names)), f"{path}: a name is defined twice"


TOP = """
tensor as_tensor Tensor grad vjp jvp jacobian hessian no_grad enable_grad set_grad_enabled is_grad_enabled
detect_anomaly manual_seed set_num_threads get_num_threads gradcheck gradgradcheck GradcheckError op OPS constant save
load profile summary explain set_winograd_enabled is_winograd_enabled functional nn optim data
""".split()
FUNCTIONS = """
conv1d conv2d conv_transpose1d conv_transpose2d conv1x1 convolve1d convolve2d correlate1d correlate2d
locally_connected1d locally_connected2d max_pool1d max_pool2d max_unpool1d max_unpool2d avg_pool1d avg_pool2d
adaptive_avg_pool1d adaptive_avg_pool2d global_avg_pool1d global_avg_pool2d interpolate linear embedding relu
leaky_relu elu gelu silu softplus tanh sigmoid softmax log_softmax dropout dropout2d batch_norm layer_norm group_norm
pad one_hot cross_entropy nll_loss mse_loss l1_loss huber_loss binary_cross_entropy binary_cross_entropy_with_logits
""".split()
LAYER_NAMES = """
Module Parameter Sequential ModuleList ModuleDict Identity Linear Embedding Conv1d Conv2d Conv1x1 ConvTranspose1d
ConvTranspose2d LocallyConnected1d LocallyConnected2d MaxPool1d MaxPool2d MaxUnpool1d MaxUnpool2d AvgPool1d AvgPool2d
AdaptiveAvgPool1d AdaptiveAvgPool2d GlobalAvgPool1d GlobalAvgPool2d Upsample Flatten ReLU LeakyReLU ELU GELU SiLU
Softplus Tanh Sigmoid Softmax LogSoftmax Dropout Dropout2d BatchNorm1d BatchNorm2d LayerNorm GroupNorm
CrossEntropyLoss NLLLoss MSELoss L1Loss HuberLoss BCELoss BCEWithLogitsLoss init
""".split()
OPTIMISERS = "SGD RMSprop Adam AdamW lr_scheduler clip_grad_norm_".split()


@pytest.mark.parametrize(
    ("module", "names"),
    [(mg, TOP), (mg.functional, FUNCTIONS), (mg.nn, LAYER_NAMES), (mg.optim, OPTIMISERS)],
    ids=["minigrad", "functional", "nn", "optim"],
)
def test_public_names_are_there_documented_and_listed(module, names):
    for name in names:
        assert hasattr(module, name), name
        assert name in module.__all__, name
        assert getattr(module, name).__doc__ or name == "OPS", f"{name} has no docstring"


def test_every_op_and_function_has_a_docstring_and_a_real_signature():
    for op in filter(lambda op: op.builtin, mg.OPS.values()):
        assert op.__doc__, op.name
        assert "*args" not in repr(op), op.name
    for name in mg.functional.__all__:
        assert getattr(mg.functional, name).__doc__, name
