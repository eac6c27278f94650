from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion.process import noise

U32 = np.uint32


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [  # Known answers of Random123 (Salmon et al. 2011), Threefry-2x32 with 20 rounds.
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(key, counter, expected) -> None:
    words = noise.threefry(np, tuple(np.array([k], U32) for k in key), tuple(np.array([c], U32) for c in counter))
    assert tuple(int(word[0]) for word in words) == expected


def test_uniform_is_the_first_word_of_the_documented_counters() -> None:
    seed, step, sample, stream = 2**40 + 17, 5, 9, noise.MASK
    word = lambda value: np.array([value], U32)  # noqa: E731
    key = noise.threefry(np, (word(seed & 0xFFFFFFFF), word(seed >> 32)), (word(sample), word(step)))
    for i in range(3):
        first, _ = noise.threefry(np, key, (word(stream), word(i)))
        value = noise.uniform(np, seed, step, np.array([sample]), 3, stream)[0, i]
        assert value == np.float32((int(first[0]) >> 9) + 0.5) * np.float32(2.0**-23)


def test_uniform_stays_inside_the_open_interval() -> None:
    ends = noise._open_unit(np, np.array([0, 0xFFFFFFFF], U32))
    assert ends.dtype == np.float32 and (ends == np.array([2.0**-24, 1 - 2.0**-24], np.float32)).all()


def test_every_part_of_the_address_changes_the_draw() -> None:
    def draw(seed=1, step=2, sample=3, stream=0) -> np.ndarray:
        return noise.normal(np, seed, step, np.array([sample]), 64, stream)

    others = [draw(seed=2), draw(seed=1 + 2**32), draw(step=3), draw(sample=4), draw(stream=1), draw(step=3, sample=2)]
    for other in others:
        assert (draw() != other).all()
        assert abs(np.corrcoef(draw(), other)[0, 1]) < 0.5
    assert (draw() == draw()).all()


def test_normal_has_the_moments_and_the_distribution_of_one() -> None:
    z = noise.normal(np, 0, 0, np.arange(64), 4001, noise.EPS)
    assert z.shape == (64, 4001) and z.dtype == np.float32
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n) and abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n) and abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    # Box-Muller's two halves are independent, and so are neighbours and samples.
    for other in (np.roll(z, 1, axis=1), np.roll(z, 1, axis=0), np.roll(z, 2001, axis=1)):
        assert abs((z * other).mean()) < 4 / np.sqrt(n)
        assert abs((z**2 * other**2).mean() - 1) < 4 * np.sqrt(8 / n)


def test_uniform_is_uniform() -> None:
    u = noise.uniform(np, 7, 0, np.arange(100), 1000, noise.TIMESTEP)
    counts = np.histogram(u, bins=50, range=(0, 1))[0]
    assert ((counts - u.size / 50) ** 2 / (u.size / 50)).sum() < 95  # chi² with 49 degrees of freedom, p = 1e-4.


def test_a_sample_is_the_same_in_any_batch() -> None:
    whole = noise.video_noise(5, 3, np.arange(6), (2, 3, 3, 1))
    assert whole.shape == (6, 2, 3, 3, 1)
    assert (noise.video_noise(5, 3, np.array([4, 1]), (2, 3, 3, 1)) == whole[[4, 1]]).all()
    flat = noise.normal(np, 5, 3, np.arange(6), 18, noise.SAMPLING)
    assert (flat.reshape(whole.shape) == whole).all()


def test_streams_have_different_numbers() -> None:
    assert len({noise.EPS, noise.TIMESTEP, noise.MASK, noise.SAMPLING}) == 4


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (2**64, ValueError), (1.0, TypeError), ("0", TypeError)])
def test_bad_seed_is_named(seed, error) -> None:
    with pytest.raises(error, match="`seed`: expected an integer from 0 .*Received"):
        noise.uniform(np, seed, 0, np.arange(1), 1, 0)


def test_a_seed_for_each_sample_draws_what_that_seed_draws() -> None:
    seeds, samples = [3, 2**63 + 5, 3], np.array([0, 7, 2])
    words = tuple(np.array([seed >> shift & 0xFFFFFFFF for seed in seeds], U32) for shift in (0, 32))
    together = noise.normal(np, words, 4, samples, 11, noise.SAMPLING)
    for row, seed, sample in zip(together, seeds, samples, strict=True):
        assert (row == noise.normal(np, seed, 4, np.array([sample]), 11, noise.SAMPLING)[0]).all()
