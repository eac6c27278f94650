"""PSNR and the baselines against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.evaluation import linear_blend, psnr, repeat_last
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


def test_repeat_last():
    np.testing.assert_array_equal(repeat_last(clips(0.1, 0.7), 3), clips(0.7, 0.7, 0.7))


def test_linear_blend_is_evenly_spaced_between_the_nearest_known_frames():
    blend = linear_blend(clips(9.0, 0.0), clips(1.0, 9.0), 3)
    np.testing.assert_allclose(blend, clips(0.25, 0.5, 0.75))
