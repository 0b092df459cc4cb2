"""Resizing images: bilinear, from the definition and as PyTorch does it."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigrad.data import arrays, resize


def bilinear(image, height, width):
    """One image, output pixel after output pixel, from the definition."""

    def neighbours(i, n, out):
        centre = min(max((i + 0.5) * n / out - 0.5, 0), n - 1)
        below = math.floor(centre)
        return below, min(below + 1, n - 1), centre - below

    result = np.empty((height, width))
    for i, j in np.ndindex(height, width):
        (top, bottom, v), (left, right, u) = neighbours(i, image.shape[0], height), neighbours(j, image.shape[1], width)
        result[i, j] = (1 - v) * ((1 - u) * image[top, left] + u * image[top, right]) + v * (
            (1 - u) * image[bottom, left] + u * image[bottom, right]
        )
    return result


sizes = st.integers(1, 9)


@given(sizes, sizes, sizes, sizes, st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32))
def test_resize_is_bilinear_with_half_pixel_centres(height, width, new_height, new_width, dtype, seed):
    images = np.random.default_rng(seed).random((2, 3, height, width)).astype(dtype)
    resized = resize(images, (new_height, new_width))
    assert resized.dtype == dtype
    assert resized.shape == (2, 3, new_height, new_width)
    for index in np.ndindex(2, 3):
        expected = bilinear(images[index].astype(np.float64), new_height, new_width)
        np.testing.assert_allclose(resized[index], expected, rtol=0, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parity
def test_resize_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).random((3, 2, 8, 5))
    for size in ((28, 28), (8, 5), (3, 11), (1, 1), (16, 2)):
        expected = torch.nn.functional.interpolate(torch.tensor(images), size, mode="bilinear", align_corners=False)
        np.testing.assert_allclose(resize(images, size), expected.numpy(), rtol=0, atol=1e-14)


def test_a_whole_set_is_resized():
    data = arrays(np.random.default_rng(0).random((6, 8, 8)), np.arange(6) % 2, 2)
    large = data.resize(28)
    assert (large.train.images.shape, large.test.images.shape) == ((4, 1, 28, 28), (2, 1, 28, 28))
    np.testing.assert_array_equal(large.train.images, resize(data.train.images, (28, 28)))
    np.testing.assert_array_equal(large.test.labels, data.test.labels)
    assert large.classes == data.classes


def test_resize_refuses_other_arrays_and_sizes():
    images = np.zeros((1, 1, 2, 2))
    for wrong in (images[0], images[..., :0]):
        with pytest.raises(ValueError, match=r"resize: need images \(N, C, H, W\)"):
            resize(wrong, 4)
    with pytest.raises(TypeError, match="resize: need images of float32 or float64, got uint8"):
        resize(images.astype(np.uint8), 4)
    for size, error in ((0, ValueError), ((3, -1), ValueError), (2.5, TypeError), ((1, 2, 3), ValueError)):
        with pytest.raises(error, match="resize: "):
            resize(images, size)
