"""PSNR, SSIM and the baseline against numbers worked out by hand, and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.evaluation import blend_known, psnr, ssim
from kvdiff.evaluation.quality import MAX_PSNR


def clips(*values: float) -> np.ndarray:
    """One clip with a frame of a single pixel for every value: [1, frames, 1, 1, 1]."""
    return np.array(values, np.float32).reshape(1, -1, 1, 1, 1)


def test_psnr_of_a_known_error():
    # Errors 0.2 and 0: mean square 0.02, so 10 log10(4 / 0.02) = 23.0103 dB.
    np.testing.assert_allclose(psnr(clips(0.2, 0.5), clips(0.0, 0.5)), [23.0103], atol=1e-4)


def test_psnr_per_frame():
    # 10 log10(4 / 0.04) = 20 dB, and an exact frame.
    np.testing.assert_allclose(psnr(clips(0.2, 0.5), clips(0.0, 0.5), per_frame=True), [[20.0, MAX_PSNR]], atol=1e-4)


def test_the_worst_picture_has_0_db():
    np.testing.assert_allclose(psnr(clips(1.0, -1.0), clips(-1.0, 1.0)), [0.0])


def test_every_clip_has_its_own_value():
    made, truth = np.zeros((3, 2, 4, 4, 1)), np.full((3, 2, 4, 4, 1), 0.02)
    truth[1] *= 10
    np.testing.assert_allclose(psnr(made, truth), [40.0, 20.0, 40.0])


def test_psnr_refuses_what_numpy_would_broadcast():
    with pytest.raises(ValueError, match=r"Received: \[1, 1, 1, 1, 1\] and \[1, 2, 1, 1, 1\]"):
        psnr(clips(0.0), clips(0.0, 1.0))


def test_uint8_pixels_are_scaled(rng):
    made, truth = rng.integers(0, 256, (2, 2, 3, 12, 12, 1), dtype=np.uint8)
    scaled = made / 127.5 - 1.0, truth / 127.5 - 1.0
    np.testing.assert_array_equal(psnr(made, truth), psnr(*scaled))
    np.testing.assert_array_equal(ssim(made, truth), ssim(*scaled))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Noisy digits-like pictures, flat ones and smooth ones, in [-1, 1]: [2, 3, 20, 24, 3]."""
    rng = np.random.default_rng(3)
    shape = (2, 3, 20, 24, 3)
    textured, smooth = rng.uniform(-1, 1, shape), np.broadcast_to(np.linspace(-1, 1, 24)[:, None], shape)
    flat = np.full(shape, 0.57)
    return [
        (np.clip(textured + rng.normal(0, 0.2, shape), -1, 1), textured),
        (flat - 0.02, flat),
        (np.clip(smooth + rng.normal(0, 0.02, shape), -1, 1), smooth),
    ]


def test_psnr_and_ssim_are_scikit_images(pairs):
    metrics = pytest.importorskip("skimage.metrics")
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)
    for made, truth in pairs:
        similar, ratio = ssim(made, truth), psnr(made, truth, per_frame=True)
        for clip, frame in np.ndindex(*similar.shape):
            a, b = truth[clip, frame], made[clip, frame]
            expected = metrics.structural_similarity(a, b, data_range=2.0, **options)
            np.testing.assert_allclose(similar[clip, frame], expected, atol=1e-6)
            np.testing.assert_allclose(
                ratio[clip, frame], metrics.peak_signal_noise_ratio(a, b, data_range=2.0), atol=1e-6
            )


def test_ssim_of_a_constant_shift_by_hand():
    """Flat pictures x and y: (2 x y + C_1) / (x² + y² + C_1), with no structure to compare."""
    x, y = 0.5, 0.25
    expected = (2 * x * y + 4e-4) / (x**2 + y**2 + 4e-4)
    np.testing.assert_allclose(ssim(np.full((1, 1, 11, 11, 1), x), np.full((1, 1, 11, 11, 1), y)), [[expected]])


def test_identical_frames_have_ssim_one_and_small_ones_are_refused(pairs):
    truth = pairs[0][1]
    np.testing.assert_allclose(ssim(truth, truth), 1.0)
    with pytest.raises(ValueError, match=r"at least 11×11. Received: \(10, 24\)"):
        ssim(truth[:, :, :10], truth[:, :, :10])
    with pytest.raises(ValueError, match="expected one shape"):
        ssim(truth, truth[:1])


def test_blend_known_joins_neighbours_and_repeats_the_outermost() -> None:
    known = np.array([False, True, False, False, True, False])
    np.testing.assert_allclose(
        blend_known(clips(9, 0.0, 9, 9, 0.6, 9), known), clips(0.0, 0.0, 0.2, 0.4, 0.6, 0.6), atol=1e-7
    )
    whole = clips(0.1, 0.3, 9, 9)
    repeated = blend_known(whole, np.array([True, True, False, False]))
    np.testing.assert_array_equal(repeated, clips(0.1, 0.3, 0.3, 0.3))
    blend = blend_known(clips(9.0, 0.0, 7, 7, 7, 1.0, 9.0), np.array([True] * 2 + [False] * 3 + [True] * 2))
    np.testing.assert_array_equal(blend, clips(9.0, 0.0, 0.25, 0.5, 0.75, 1.0, 9.0))
    with pytest.raises(ValueError, match="`known`: expected booleans .4., at least one True"):
        blend_known(whole, np.zeros(4, bool))
