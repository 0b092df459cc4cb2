"""Augmentation: distortions drawn by seed, epoch and sample, and one resampling that SciPy does alike."""

import numpy as np
import pytest
from scipy import ndimage, stats

from minigrad.data import Augment, Batches, Split, augment as module

EVERYTHING = Augment(shift=2, degrees=20, scale=(0.8, 1.3), alpha=34, sigma=2)
GAMMA, FIRST, SECOND = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def splitmix(key, numbers):
    """Numbers of the stream of a key: SplitMix64, as Steele, Lea and Flood print it."""
    z = np.atleast_1d(np.asarray(key, np.uint64)) + np.atleast_1d(np.asarray(numbers, np.uint64)) * GAMMA
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


def positions(augment, height, width, sample, seed, epoch):
    """Where the pixels of a distorted sample come from, (2, H, W)."""
    key = splitmix(splitmix(splitmix(seed, 1), epoch + 1), sample)
    turn, size, *shift = (splitmix(key, [0, 1, 2, 3]) >> np.uint64(11)) / 2**53
    turn, shift = np.deg2rad(augment.degrees) * (2 * turn - 1), augment.shift * (2 * np.array(shift) - 1)
    size = augment.scale[0] + (augment.scale[1] - augment.scale[0]) * size
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = (np.array([height, width]) - 1) / 2
    grid = np.stack(np.mgrid[:height, :width]) - (middle + shift)[:, None, None]
    at = np.tensordot(rotation / size, grid, 1) + middle[:, None, None]
    reach = int(np.ceil(3 * augment.sigma))
    shape = height + 2 * reach, width + 2 * reach
    bits = splitmix(key, 4 + np.arange(np.prod(shape))).astype("<u8").view("<i4").reshape(*shape, 2)
    for axis, half in ((0, 1), (1, 0)):  # the upper half of the bits is the field down, the lower one along
        field = ndimage.gaussian_filter(bits[..., half] / 2.0**31, augment.sigma, radius=reach)
        at[axis] += augment.alpha * field[reach : reach + height, reach : reach + width]
    return at


def ramps(samples, side):
    """Images whose two channels are the row and the column: what comes out says where it was read."""
    return np.broadcast_to(np.mgrid[:side, :side].astype(float), (samples, 2, side, side))


@pytest.mark.parametrize("augment", [Augment(shift=1.5), Augment(degrees=40, scale=(0.5, 2)), EVERYTHING])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_images_are_resampled_as_by_scipy(augment, dtype, tolerance):
    x = np.random.default_rng(0).random((5, 2, 9, 13)).astype(dtype)
    samples, seed, epoch = [7, 0, 2**40, 7, 1], 3, 11
    y = augment(x, samples, seed, epoch)
    assert y.dtype == dtype
    for image, distorted, sample in zip(x, y, samples, strict=True):
        at = positions(augment, 9, 13, sample, seed, epoch)
        for channel, expected in zip(image.astype(float), distorted, strict=True):
            resampled = ndimage.map_coordinates(channel, at, order=1, mode="grid-constant")
            np.testing.assert_allclose(expected, resampled, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (3, 2, 7, 12), (2, 1, 1, 1), (0, 1, 5, 5)])
def test_settings_of_zero_change_no_bit(shape, dtype):
    x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    y = Augment()(x)
    assert y.tobytes() == x.tobytes()
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert not np.shares_memory(y, x)


def test_layouts_make_no_difference_and_inputs_stay_unchanged():
    x = np.random.default_rng(2).random((6, 2, 10, 8))
    for same in (np.asfortranarray(x), np.repeat(x, 2, 0)[::2], x.astype(">f8"), x.tolist()):
        if isinstance(same, np.ndarray):
            same.flags.writeable = False
        np.testing.assert_array_equal(EVERYTHING(same), EVERYTHING(x))
    kept = x.copy()
    y = EVERYTHING(x)
    np.testing.assert_array_equal(x, kept)
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert EVERYTHING(x[:0]).shape == (0, 2, 10, 8)


def test_shifts_angles_and_scales_are_independent_and_uniform():
    augment = Augment(shift=1, degrees=30, scale=(0.8, 1.2))
    y = augment(ramps(4000, 9))
    down, along = y[:, :, 5, 4] - y[:, :, 4, 4], y[:, :, 4, 5] - y[:, :, 4, 4]
    scale, angle = 1 / np.hypot(*down.T), np.rad2deg(np.arctan2(down[:, 1], down[:, 0]))
    matrices = np.stack([down, along], axis=-1)
    np.testing.assert_allclose(matrices[:, 0, 0], matrices[:, 1, 1], atol=1e-12)  # a rotation and a scale, no shear
    np.testing.assert_allclose(matrices[:, 0, 1], -matrices[:, 1, 0], atol=1e-12)
    shift = -np.linalg.solve(matrices, (y[:, :, 4, 4] - 4)[..., None])[..., 0]
    drawn = [(shift[:, 0], -1, 2), (shift[:, 1], -1, 2), (angle, -30, 60), (scale, 0.8, 0.4)]
    for values, least, width in drawn:
        assert stats.kstest(values, stats.uniform(least, width).cdf).pvalue > 1e-3
    correlations = np.corrcoef([values for values, _, _ in drawn]) - np.eye(4)
    assert np.abs(correlations).max() < 4 / np.sqrt(4000)


def test_the_elastic_field_is_as_strong_and_as_smooth_as_its_settings_say():
    alpha, sigma, side = 4.0, 2.0, 16
    bend = Augment(alpha=alpha, sigma=sigma)(ramps(3000, side)) - ramps(3000, side)
    inner = bend[:, :, 3:-3, 3:-3]  # further out a position may lie outside
    deviation = alpha / (sigma * np.sqrt(12 * np.pi))
    np.testing.assert_allclose(inner.std(0), deviation, rtol=0.08)
    assert np.abs(inner.mean(0)).max() < 5 * deviation / np.sqrt(3000)
    for distance in (1, 3, 6):
        for axis in (2, 3):
            a = np.take(inner, range(10 - distance), axis)
            b = np.take(inner, range(distance, 10), axis)
            expected = np.exp(-((distance / sigma) ** 2) / 4)
            assert (a * b).mean() / deviation**2 == pytest.approx(expected, abs=0.05)
    assert np.abs((inner[:, 0] * inner[:, 1]).mean()) < 0.05 * deviation**2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_parts_gives_the_same_bits_and_writes_nothing_beside(dtype, monkeypatch):
    x = np.random.default_rng(3).random((7, 2, 9, 13)).astype(dtype)
    expected, fenced = EVERYTHING(x), []

    def poisoned(shape, dtype):
        size, margin = int(np.prod(shape)), 64
        wide = np.full(size + 2 * margin, np.nan, dtype)
        fenced.extend((wide[:margin], wide[margin + size :]))
        return wide[margin : margin + size].reshape(shape)

    monkeypatch.setattr(module, "allocate", poisoned)
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(module, "parts", lambda n, work, count=count: count)
        assert EVERYTHING(x).tobytes() == expected.tobytes()
    assert len(fenced) == 16
    assert np.isnan(fenced).all()


def test_a_distortion_depends_on_the_seed_the_epoch_and_the_sample_alone():
    x = np.broadcast_to(np.random.default_rng(4).random((1, 1, 12, 12)), (20, 1, 12, 12))
    y = EVERYTHING(x, seed=5, epoch=2)
    order = np.random.default_rng(5).permutation(20)
    np.testing.assert_array_equal(EVERYTHING(x, order, 5, 2), y[order])
    parts = [EVERYTHING(x[:3], range(i, i + 3), 5, 2) for i in range(0, 18, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), y[:18])
    others = [y, EVERYTHING(x, seed=5, epoch=3), EVERYTHING(x, seed=2, epoch=5), EVERYTHING(x, np.arange(20, 40), 5, 2)]
    assert len({image.tobytes() for images in others for image in images}) == 80


def test_all_channels_are_distorted_alike():
    x = np.repeat(np.random.default_rng(6).random((4, 1, 11, 9)), 3, axis=1)
    y = EVERYTHING(x)
    assert np.abs(y - x).max() > 0.1
    for channel in range(3):
        np.testing.assert_array_equal(y[:, channel], y[:, 0])


@pytest.mark.parametrize(
    "augment",
    [
        Augment(shift=1e300), Augment(scale=(1e-300, 1e-300), degrees=180), Augment(scale=(1e300, 1e300)),
        Augment(alpha=1e300), Augment(shift=1e300, degrees=1e300, scale=(1e-300, 1e300), alpha=1e300, sigma=9),
        Augment(sigma=1e-300, alpha=1), Augment(shift=2**40, alpha=2**40),
    ],
)  # fmt: skip
def test_settings_without_measure_read_no_memory_that_is_not_the_image(augment):
    for dtype in (np.float32, np.float64):
        y = augment(np.ones((3, 1, 6, 5), dtype))
        assert ((y >= 0) & (y <= 1)).all()


def test_batches_are_augmented_by_sample_whatever_their_size():
    rng = np.random.default_rng(7)
    split = Split(rng.integers(0, 256, (30, 1, 8, 8), np.uint8), np.arange(30))

    def epoch(batch_size, number):
        batches = Batches(split, batch_size, seed=9, augment=EVERYTHING)
        batches.set_epoch(number)
        images, labels = map(np.concatenate, zip(*batches, strict=True))
        np.testing.assert_array_equal(labels, batches.order(number))
        return images[np.argsort(labels)]

    np.testing.assert_array_equal(epoch(7, 2), epoch(30, 2))
    np.testing.assert_array_equal(epoch(30, 2), EVERYTHING(split.images, seed=9, epoch=2))
    assert (epoch(30, 3) != epoch(30, 2)).any(axis=(1, 2, 3)).all()


def test_batches_take_an_augmentation_of_ones_own():
    def numbered(images, samples, seed, epoch):
        return np.full_like(images, 100 * seed + 10 * epoch) + samples[:, None]

    batches = Batches((np.zeros((5, 2)), np.arange(5)), 3, seed=4, augment=numbered)
    for number in range(2):
        for x, labels in batches:
            np.testing.assert_array_equal(x, np.stack([400 + 10 * number + labels] * 2, axis=1))


def test_settings_and_arrays_that_make_no_sense_are_refused():
    for settings, rule in [
        ({"shift": -1}, "shift >= 0"), ({"shift": (1, 2)}, "shift >= 0"), ({"degrees": np.nan}, "degrees >= 0"),
        ({"alpha": np.inf}, "alpha >= 0"), ({"sigma": 0}, "sigma > 0"), ({"scale": 1.1}, ".* two finite numbers"),
        ({"scale": (1, np.inf)}, ".* two finite numbers"), ({"scale": (0, 1)}, "scale .* with 0 < least <= most"),
        ({"scale": (1.1, 0.9)}, "scale .* with 0 < least <= most"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=f"Augment: need {rule}"):
            Augment(**settings)
    x = np.zeros((3, 1, 4, 4))
    for images in (x[0], x[:, :, :0]):
        with pytest.raises(ValueError, match=r"Augment: need images \(N, C, H, W\)"):
            Augment()(images)
    with pytest.raises(TypeError, match="Augment: need images of float32 or float64, got uint8"):
        Augment()(x.astype(np.uint8))
    for samples in ([0, 1], [0.0, 1.0, 2.0], [[0, 1, 2]]):
        with pytest.raises(ValueError, match=r"Augment: need samples \(N,\) of integers with N = 3"):
            Augment()(x, samples)
    with pytest.raises(ValueError, match="Augment: seed: need an integer from 0"):
        Augment()(x, seed=-1)
