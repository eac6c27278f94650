"""Data that packages bring: an ultrasound cine, a microscope's multipage TIFF, a game's depth buffer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvdiff.diffusion import fitted
from kvdiff.fields import open_fields, survey


def test_the_ultrasound_of_pydicoms_examples() -> None:
    """A cine of a heart, 30 frames of JPEG in YBR (from the GDCM collection, as pydicom ships it)."""
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("PIL")
    from pydicom import examples

    field = open_fields(examples.get_path("ybr_color"))[0]
    assert field.shape == (30, 240, 320, 3) and field.names == ("red", "green", "blue")
    assert field.time_step == pytest.approx(0.033)
    expected = pydicom.pixels.pixel_array(examples.get_path("ybr_color"))
    np.testing.assert_array_equal(field.read([29, 3]), expected[[29, 3]])
    assert len(field.clips(8)) == 23


def test_the_multipage_tiffs_of_scikit_image() -> None:
    data = pytest.importorskip("skimage.data")
    tifffile = pytest.importorskip("tifffile")
    path = Path(data.__file__).parent / "multipage.tif"
    if not path.exists():
        pytest.skip("this version of scikit-image ships no such file")
    field = open_fields(path)[0]
    expected = tifffile.imread(path)
    assert field.shape[0] == len(expected) > 1
    np.testing.assert_array_equal(field.read(range(len(expected)))[..., 0], expected)


@pytest.mark.slow
def test_the_depth_buffer_of_a_game() -> None:
    """ViZDoom's depth (from the Freedoom assets, BSD) is read and scaled as it is."""
    vizdoom = pytest.importorskip("vizdoom")
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / "basic.cfg"))
    game.set_depth_buffer_enabled(True)
    game.set_window_visible(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.init()
    frames = []
    for step in range(6):
        frames.append(game.get_state().depth_buffer.astype(np.float32) / 4.0)
        game.make_action([step % 2 == 0, step % 2 == 1, False])
    game.close()
    depth = np.stack(frames)
    field = open_fields(depth)[0]
    values = fitted("log1p", survey([field]).summaries)
    clip = field.read(range(6))[None]
    np.testing.assert_array_equal(clip[0, ..., 0], depth)
    np.testing.assert_allclose(values.decode(values.encode(clip)), clip, rtol=1e-4, atol=1e-4)
