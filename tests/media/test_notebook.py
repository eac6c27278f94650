"""Clips in a notebook are a moving picture of all of them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest

from kvdiff import media

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("av")

CLIPS = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 8, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("clips", "size"),
    [(CLIPS[0], (8, 6)), (CLIPS, (2 * 8 + 6, 2 * 6 + 6)), (CLIPS[None, :1] / 127.5 - 1.0, (8, 6))],
)
def test_it_is_a_gif_of_all_clips_and_a_strip_where_nothing_moves(clips, size):
    shown = media.show(clips, scale=1)
    found = re.fullmatch(r'<img alt="clips \[.*\]" src="data:image/gif;base64,(.*)">', shown._repr_html_())
    assert found
    picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert picture.size == size and picture.n_frames == 5
    flat = clips.reshape(-1, *clips.shape[-4:])
    strip = Image.open(io.BytesIO(shown._repr_png_()))
    assert strip.size == (5 * 9 + 1, len(flat) * 7 + 1)


def test_small_clips_are_enlarged():
    assert Image.open(io.BytesIO(media.show(CLIPS[0]).gif)).size == (256, 192)
    assert Image.open(io.BytesIO(media.show(np.zeros((2, 4, 300, 1), np.uint8)[None]).gif)).size == (300, 4)


@pytest.mark.parametrize(("clips", "received"), [(CLIPS[0, 0], [6, 8, 1]), (np.zeros((2, 4, 4, 2)), [2, 4, 4, 2])])
def test_what_is_no_clip_is_refused(clips, received):
    with pytest.raises(ValueError, match=re.escape(f"Received: {received}")):
        media.show(clips)
