"""Files of models, and what ONNX Runtime computes with them."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
runtime = pytest.importorskip("onnxruntime")

TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}
OPTIONS = runtime.SessionOptions()
OPTIONS.intra_op_num_threads = OPTIONS.inter_op_num_threads = 1
OPTIONS.log_severity_level = 4


def exported(model, example):
    """The file's content, and a function that computes with it as ONNX Runtime does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        mg.onnx.export(model, path, example)
        proto = onnx.load(path)
    try:
        session = runtime.InferenceSession(proto.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"])
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented:  # float64, of which it has less
        session = reference.ReferenceEvaluator(proto)
    names = [value.name for value in proto.graph.input]
    return proto, lambda *inputs: session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))


def leaves(output):
    return list(output) if isinstance(output, tuple) else [output]


def check_close(found, expected):
    """Values are equal to rounding, dtypes and shapes exactly."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        b = np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        scale = max(1.0, np.abs(b, where=np.isfinite(b), out=np.zeros(b.shape)).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE.get(b.dtype, 0) * scale)


def check_exports(model, make, sizes=(1, 3, 7, 0)):
    """The file of a model computes what the model does; `make(n)` gives the inputs of a batch."""
    proto, run = exported(model, make(2))
    model.eval()
    with mg.no_grad():
        for n in sizes:
            inputs = make(n)
            check_close(run(*inputs), leaves(model(*map(mg.tensor, inputs))))
    return proto
