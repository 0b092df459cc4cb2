"""Every function of F by one table: arrays and tensors alike, dtypes, empty batches, what is refused and how."""

import inspect

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F

N = -1  # stands for the size of the batch


def classes(rng, shape):
    return rng.integers(0, 3, shape)


def unit(rng, shape):
    return rng.uniform(0.1, 0.9, shape)


def places(rng, shape):
    """Indices into windows of two cells, one per window."""
    return np.broadcast_to(2 * np.arange(shape[-1]), shape).copy()


# For each function the shapes of its arrays, in order; a pair is a shape and how to draw the values; then its settings.
ROWS = {
    "adaptive_avg_pool1d": ([(N, 2, 5)], {"output_size": 3}),
    "adaptive_avg_pool2d": ([(N, 2, 5, 4)], {"output_size": (3, 2)}),
    "avg_pool1d": ([(N, 2, 5)], {"kernel_size": 2}),
    "avg_pool2d": ([(N, 2, 5, 4)], {"kernel_size": 2}),
    "batch_norm": ([(N, 3, 4), (3,), ((3,), unit), (3,), (3,)], {"training": True}),
    "binary_cross_entropy": ([((N, 3), unit), ((N, 3), unit)], {"reduction": "sum"}),
    "binary_cross_entropy_with_logits": ([(N, 3), ((N, 3), unit)], {"reduction": "sum"}),
    "conv1d": ([(N, 2, 5), (3, 2, 2), (3,)], {}),
    "conv1x1": ([(N, 2, 5), (3, 2), (3,)], {}),
    "conv2d": ([(N, 2, 5, 4), (3, 2, 2, 2), (3,)], {}),
    "conv_transpose1d": ([(N, 2, 5), (2, 3, 2), (3,)], {}),
    "conv_transpose2d": ([(N, 2, 5, 4), (2, 3, 2, 2), (3,)], {}),
    "convolve1d": ([(N, 5), (2,)], {}),
    "convolve2d": ([(N, 5, 4), (2, 2)], {}),
    "correlate1d": ([(N, 5), (2,)], {}),
    "correlate2d": ([(N, 5, 4), (2, 2)], {}),
    "cross_entropy": ([(N, 3), ((N,), classes)], {"reduction": "sum"}),
    "dropout": ([(N, 3)], {}),
    "dropout2d": ([(N, 3, 4, 4)], {}),
    "elu": ([(N, 3)], {}),
    "embedding": ([((N, 2), classes), (3, 4)], {}),
    "gelu": ([(N, 3)], {}),
    "global_avg_pool1d": ([(N, 2, 5)], {}),
    "global_avg_pool2d": ([(N, 2, 5, 4)], {}),
    "group_norm": ([(N, 4, 3)], {"num_groups": 2}),
    "huber_loss": ([(N, 3), (N, 3)], {"reduction": "sum"}),
    "interpolate": ([(N, 2, 5, 4)], {"scale_factor": 2, "mode": "bilinear"}),
    "l1_loss": ([(N, 3), (N, 3)], {"reduction": "sum"}),
    "layer_norm": ([(N, 3)], {"normalized_shape": 3}),
    "leaky_relu": ([(N, 3)], {}),
    "linear": ([(N, 3), (2, 3), (2,)], {}),
    "locally_connected1d": ([(N, 2, 3), (2, 3, 2, 2), (3, 2)], {}),
    "locally_connected2d": ([(N, 2, 3, 2), (2, 1, 3, 2, 2, 2), (3, 2, 1)], {}),
    "log_softmax": ([(N, 3)], {"dim": 1}),
    "max_pool1d": ([(N, 2, 5)], {"kernel_size": 2}),
    "max_pool2d": ([(N, 2, 5, 4)], {"kernel_size": 2}),
    "max_unpool1d": ([(N, 2, 3), ((N, 2, 3), places)], {"kernel_size": 2}),
    "max_unpool2d": ([(N, 2, 3, 2), ((N, 2, 3, 2), places)], {"kernel_size": 2}),
    "mse_loss": ([(N, 3), (N, 3)], {"reduction": "sum"}),
    "nll_loss": ([(N, 3), ((N,), classes)], {"reduction": "sum"}),
    "one_hot": ([((N, 2), classes)], {"num_classes": 3}),
    "pad": ([(N, 3)], {"pad": (1, 1), "mode": "reflect"}),
    "relu": ([(N, 3)], {}),
    "sigmoid": ([(N, 3)], {}),
    "silu": ([(N, 3)], {}),
    "softmax": ([(N, 3)], {"dim": 1}),
    "softplus": ([(N, 3)], {}),
    "tanh": ([(N, 3)], {}),
}
NAMES = sorted(ROWS)
ELEMENTWISE = {"elu", "gelu", "leaky_relu", "log_softmax", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh"}
INTEGERS = {"one_hot"}  # takes nothing else
WEIGHTED = [  # several arrays that must be of one dtype
    name for name in NAMES if name.startswith(("conv", "correlate", "locally", "batch_norm", "linear"))
]
ANY_RANK = {
    "embedding", "one_hot", "pad", "dropout", "relu", "elu", "gelu", "leaky_relu", "sigmoid", "silu", "softplus",
    "tanh", "huber_loss", "l1_loss", "mse_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
}  # fmt: skip


def arrays_of(name, batch=2, dtype=np.float64):
    rng = np.random.default_rng(4)
    made = []
    for row in ROWS[name][0]:
        shape, draw = row if isinstance(row[-1], type(unit)) else (row, lambda rng, s: rng.standard_normal(s))
        values = draw(rng, tuple(batch if n == N else n for n in shape))
        made.append(values.astype(dtype) if values.dtype.kind == "f" else values)
    return made


def call(name, arrays):
    """The function as a user calls it: arrays first, then settings; always with the same random numbers."""
    function, settings = getattr(F, name), ROWS[name][1]
    mg.manual_seed(7)
    if name == "embedding":
        return function(*arrays, padding_idx=1)
    if name.startswith("max_pool"):
        return function(*arrays, **settings, return_indices=True)
    return function(*arrays, **settings)


def outputs(result):
    return result if isinstance(result, tuple) else (result,)


def test_every_function_has_a_row():
    assert sorted(F.__all__) == NAMES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_arrays_give_arrays_and_tensors_tensors_of_the_same_values_and_dtype(name, dtype):
    arrays = arrays_of(name, dtype=dtype)
    tensors = [mg.tensor(a) for a in arrays]
    for of_arrays, of_tensors in zip(outputs(call(name, arrays)), outputs(call(name, tensors)), strict=True):
        assert type(of_arrays) is np.ndarray
        assert type(of_tensors) is mg.Tensor
        np.testing.assert_array_equal(of_tensors.data, of_arrays)
        assert of_tensors.dtype == of_arrays.dtype
        assert of_arrays.dtype == (dtype if of_arrays.dtype.kind == "f" else np.int64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in INTEGERS])
def test_gradients_have_the_shape_and_dtype_of_their_arrays(name, dtype):
    leaves = [mg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays_of(name, dtype=dtype)]
    if name == "batch_norm":  # running statistics are not differentiated
        leaves[1:3] = [x.detach() for x in leaves[1:3]]
    wanted = [x for x in leaves if x.requires_grad]
    y = outputs(call(name, leaves))[0]
    found = mg.grad(y, wanted, np.random.default_rng(5).standard_normal(y.shape).astype(dtype))
    for x, dx in zip(wanted, found, strict=True):
        assert (dx.shape, dx.dtype) == (x.shape, dtype)
    assert any(np.abs(dx.data).max() > 0 for dx in found)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(name):
    arrays = arrays_of(name, batch=0)
    leaves = [mg.tensor(a, requires_grad=a.dtype.kind == "f" and name != "batch_norm") for a in arrays]
    y = outputs(call(name, leaves))[0]
    assert 0 in y.shape or (y.shape == () and y.item() == 0)
    wanted = [x for x in leaves if x.requires_grad]
    for dx in mg.grad(y, wanted, np.ones(y.shape)) if wanted else ():
        assert not dx.data.any()


POSITIONS = [(name, i) for name in NAMES for i in range(len(ROWS[name][0]))]


@pytest.mark.parametrize(("name", "position"), POSITIONS)
@pytest.mark.parametrize("wrong", [list, lambda a: "abc", lambda a: 3.0], ids=["list", "text", "number"])
def test_what_is_neither_tensor_nor_array_is_refused_by_name(name, position, wrong):
    arrays = arrays_of(name)
    what = list(inspect.signature(getattr(F, name)).parameters)[position]
    arrays[position] = wrong(arrays[position])
    with pytest.raises(TypeError, match=f"^{name}: need {what} as a tensor or an array, got "):
        call(name, arrays)
    if position == 0:
        keywords = dict(zip(inspect.signature(getattr(F, name)).parameters, arrays, strict=False))
        with pytest.raises(TypeError, match=f"^{name}: need {what} as a tensor or an array, got "):
            getattr(F, name)(**keywords, **ROWS[name][1])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ANY_RANK])
@pytest.mark.parametrize("rank", [0, 7])
def test_a_wrong_rank_is_refused_by_name(name, rank):
    arrays = arrays_of(name)
    if rank == 7 and name in {
        "batch_norm", "convolve1d", "convolve2d", "correlate1d", "correlate2d", "dropout2d", "group_norm", "layer_norm",
        "linear", "softmax", "log_softmax",
    }:  # fmt: skip
        arrays[0] = arrays[0][..., None, None][..., :0]  # takes any rank; but not every size
        if name in {"dropout2d", "softmax", "log_softmax", "group_norm", "batch_norm"}:
            assert 0 in outputs(call(name, arrays))[0].shape
            return
    else:
        arrays[0] = np.ones((1,) * rank)
    with pytest.raises(ValueError, match=f"^{name}: "):
        call(name, arrays)


@pytest.mark.parametrize("name", WEIGHTED)
def test_mixed_dtypes_are_refused_by_name(name):
    for position in range(1, len(ROWS[name][0])):
        arrays = arrays_of(name)
        arrays[position] = arrays[position].astype(np.float32)
        with pytest.raises(TypeError, match=f"^{name}: need one dtype, got .*float64.* and .*float"):
            call(name, arrays)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in INTEGERS | {"embedding", "pad", "linear"}])
def test_integers_are_refused_by_name_or_become_floats_where_a_function_has_no_integer_values(name):
    arrays = [np.ones(a.shape, np.int64) for a in arrays_of(name)]
    if name not in ELEMENTWISE:
        with pytest.raises(TypeError, match=f"^{name}: need float32 or float64, got int64"):
            call(name, arrays)
        return
    numbers = np.array([[-2, 0, 3]])
    y = call(name, [numbers])
    np.testing.assert_array_equal(y, call(name, [numbers.astype(np.float32)]))
    assert y.dtype == (np.int64 if name == "relu" else np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_signatures_and_names_are_those_of_the_source(name):
    """The check of arguments is not seen from outside."""
    function = getattr(F, name)
    assert function.__name__ == name
    assert next(iter(inspect.signature(function).parameters)) in ("input", "tensor")
    with pytest.raises(TypeError, match=rf"{name}\(\)"):
        function()
