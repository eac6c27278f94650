"""Measures of an autoencoder: bands of frequency against sines, and a reconstruction that is exactly known."""

import json

import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Unbounded
from kvdiff.evaluation.reconstruction import BANDS, band_powers, reconstruction


@pytest.mark.parametrize(("period", "band"), [(16, 0), (8, 1), (4, 2), (2, 3)])
def test_a_wave_is_in_its_band_and_has_its_power(period, band):
    wave = np.sqrt(2) * np.cos(2 * np.pi * np.arange(32) / period + 0.3)
    clip = 5.0 + np.broadcast_to(wave[:, None], (2, 3, 32, 32))[..., None]  # The mean does not count.
    powers = band_powers(clip)
    expected = np.zeros(len(BANDS) - 1)
    expected[band] = np.square(wave).mean()
    np.testing.assert_allclose(powers, expected, atol=1e-10)


def test_white_noise_fills_bands_by_their_area(rng):
    powers = band_powers(rng.standard_normal((8, 2, 64, 64, 1)))
    np.testing.assert_allclose(powers, np.diff(np.square(BANDS)), atol=0.02)


@pytest.fixture
def halves() -> kvdiff.VideoAutoencoder:
    """An autoencoder that gives back means of cells of 2 × 2 pixels."""
    model = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=1, widths=(4,), blocks=1, kl=0.0, values=Unbounded())
    model.encoder.get_layer("patches").set_weights([np.eye(4), np.zeros(4)])
    model.encoder.get_layer("latent").set_weights([np.full((4, 1), 0.25), np.zeros(1)])
    middle = np.arange(9) == 4
    model.decoder.get_layer("features").set_weights([middle[:, None] * np.float32([[1, 0, 0, 0]]), np.zeros(4)])
    ones = np.outer(np.eye(4)[0], np.ones(4))
    model.decoder.get_layer("pixels").set_weights([np.kron(middle[:, None], ones), np.zeros(4)])
    return model


def test_what_is_lost_is_measured_and_shown(halves, rng, tmp_path):
    clips = rng.uniform(-1, 1, (3, 2, 16, 16, 1)).astype(np.float32)
    found = reconstruction(halves, clips, tmp_path, shown=2)
    cells = clips.reshape(3, 2, 8, 2, 8, 2).mean(axis=(3, 5))
    made = cells.repeat(2, axis=2).repeat(2, axis=3)[..., None]
    errors = np.square(made - clips)
    np.testing.assert_allclose(found.psnr, np.mean(10 * np.log10(4 / errors.mean(axis=(1, 2, 3, 4)))), rtol=1e-4)
    np.testing.assert_allclose(found.worst, 10 * np.log10(4 / errors.mean(axis=(2, 3, 4)).max()), rtol=1e-4)
    assert found.share == 0.25 and 0 < found.ssim < 1
    assert found.kept[3] < 0.2 < 0.7 < found.kept[0] and found.error[3] > 0.7
    np.testing.assert_allclose(found.mean, cells.mean(), atol=1e-5)
    np.testing.assert_allclose(found.deviation, cells.std(), rtol=1e-4)
    variance, mean = cells.var(), cells.mean()
    np.testing.assert_allclose(found.divergence, 0.5 * (mean**2 + variance - 1 - np.log(variance)), rtol=1e-3)
    assert json.loads((tmp_path / "reconstruction.json").read_text())["psnr"] == found.psnr
    page = (tmp_path / "reconstruction.html").read_text()
    assert page.count("data:image/png") == 2 and f"{found.psnr:.2f} dB" in page
    assert len(found.lines()) == 1 + 1 + 4
