"""What docs/from_pytorch.md says of PyTorch is so."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "from_pytorch.md").read_text()


def test_numpy_scalars_in_a_list_decide_pytorchs_dtype():
    assert torch.tensor([np.float64(1.0)]).dtype == torch.float64


def test_pytorch_has_no_mean_of_integers_no_view_of_a_transpose_and_no_steps_backwards():
    x = torch.ones(2, 2)
    for call in (lambda: torch.tensor([1, 2]).mean(), lambda: x.T.view(4), lambda: x[0, ::-1]):
        with pytest.raises((RuntimeError, ValueError)):
            call()


def test_pytorchs_and_works_on_bits():
    assert (torch.tensor([1]) & torch.tensor([3])).tolist() == [1]


def test_pytorchs_augmented_assignment_writes_into_the_tensor():
    x = old = torch.tensor([1.0])
    x += 1
    assert old is x


def test_pytorchs_parameter_shares_memory():
    start = torch.tensor([1.0])
    p = torch.nn.Parameter(start)
    start[0] = 7.0
    assert p.item() == 7.0


def test_pytorchs_max_shares_its_gradient_among_ties():
    x = torch.tensor([2.0, 2.0], requires_grad=True)
    assert torch.autograd.grad(x.max(), x)[0].tolist() == [0.5, 0.5]
    assert torch.autograd.grad(torch.maximum(x, torch.tensor(2.0)).sum(), x)[0].tolist() == [0.5, 0.5]


def test_pytorchs_anomaly_detection_lets_infinity_pass_and_is_the_whole_processs():
    with pytest.warns(UserWarning, match="Anomaly Detection"):
        mode = torch.autograd.detect_anomaly()
    seen = []
    with mode:
        assert torch.tensor([[1e38]]) @ torch.tensor([[1e38]]) == torch.inf
        thread = threading.Thread(target=lambda: seen.append(torch.is_anomaly_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_pytorchs_gradcheck_refuses_right_gradients_in_float32_and_at_kinks():
    failure = torch.autograd.gradcheck.__globals__["GradcheckError"]
    single = torch.tensor([1.0, 2.0], requires_grad=True)
    with pytest.warns(UserWarning, match="double precision"), pytest.raises(failure):
        torch.autograd.gradcheck(torch.relu, single)
    with pytest.raises(failure):
        torch.autograd.gradcheck(torch.relu, torch.zeros(2, dtype=torch.float64, requires_grad=True))


def test_pytorch_takes_a_single_image():
    assert torch.nn.Conv2d(1, 4, 3)(torch.zeros(1, 8, 8)).shape == (4, 6, 6)


def test_pytorch_pads_same_at_stride_1_only_and_poolings_by_half_a_window():
    x = torch.ones(1, 1, 5, 5)
    with pytest.raises(ValueError, match="strided"):
        torch.nn.Conv2d(1, 1, 3, stride=2, padding="same")
    with pytest.raises(RuntimeError, match="half"):
        torch.nn.functional.max_pool2d(x, 3, padding=2)


def test_pytorchs_max_pooling_takes_the_last_of_several_nans():
    x = torch.tensor([[[np.nan, 1.0, np.nan]]])
    assert torch.nn.functional.max_pool1d(x, 3, return_indices=True)[1].tolist() == [[[2]]]


def test_pytorch_guesses_softmaxs_dim_and_broadcasts_a_loss():
    with pytest.warns(UserWarning, match="dim"):
        torch.nn.functional.softmax(torch.zeros(3))
    with pytest.warns(UserWarning, match="size"):
        torch.nn.functional.mse_loss(torch.zeros(2, 3), torch.zeros(3))


def test_pytorchs_batch_of_class_numbers_is_int64():
    with pytest.raises(RuntimeError, match="Long"):
        torch.nn.functional.cross_entropy(torch.zeros(1, 3), torch.tensor([2], dtype=torch.int32))


NOT_NAMES = {"dir", "F", "mg.from_dlpack", "padding_mode", "antialias", "axis", "dtype", "out"}
OWNERS = [
    (torch, mg), (torch.Tensor, mg.Tensor), (torch.nn, mg.nn), (torch.nn.functional, mg.functional),
    (torch.nn.Module, mg.nn.Module), (torch.optim, mg.optim), (torch.optim.lr_scheduler, mg.optim.lr_scheduler),
]  # fmt: skip


def test_what_there_is_not_pytorch_has_and_minigrad_has_not():
    listed = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", PAGE.partition("## What there is not")[2])
    names = [name.removeprefix("torch.") for name in re.findall(r"`([\w.]+)`", listed) if name not in NOT_NAMES]
    assert len(names) > 80
    for name in names:
        owners = [(theirs, ours) for theirs, ours in OWNERS if hasattr(theirs, name)]
        assert owners, f"PyTorch has no {name}"
        assert any(not hasattr(ours, name) for _, ours in owners), f"minigrad has {name}"
