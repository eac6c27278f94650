"""The peer's weights in our network: the same answers, and files that do not fit."""

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import kvdiff
from kvdiff.diffusion.conditions import ClipVector
from tests.models import peer_network
from tests.models.peer_network import CASES, CHANNELS, HEADS, MULTIPLIERS, WIDTH

PLAIN = peer_network.weights(peer_network.shapes(CASES["plain"]))
NAME = "downs.1.0.block1.proj.weight"


def network(condition, multipliers=MULTIPLIERS):
    conditions = {"vector": ClipVector(condition)} if condition else None
    made = kvdiff.FactorisedUNet3D(CHANNELS, width=WIDTH, multipliers=multipliers, heads=HEADS, conditions=conditions)
    return made


@pytest.fixture(scope="module")
def denoisers(tmp_path_factory):
    """By the size of the vector they are told: denoisers with the peer's weights, from a file as users have it."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for case in (CASES["plain"], CASES["told"]):
        weights = peer_network.weights(peer_network.shapes(case))
        # A whole GaussianDiffusion, with its schedule; a rotary table is there once, for tensors are not shared.
        whole = {f"denoise_fn.{name}": value for name, value in weights.items()}
        whole |= {
            "betas": np.zeros(1000, np.float32),
            "denoise_fn.mid_temporal_attn.fn.fn.fn.rotary_emb.freqs": np.ones(16),
        }
        save_file(whole, folder / f"{case.condition}.safetensors")
        found[case.condition] = network(case.condition)
        kvdiff.load_torch_weights(found[case.condition], folder / f"{case.condition}.safetensors")
    return found


@pytest.mark.parametrize("name", CASES)
def test_answers_as_the_peer_does(denoisers, name):
    """Within float32's rounding, of answers up to 5."""
    case = CASES[name]
    found, expected = denoisers[case.condition](peer_network.our_inputs(case)), peer_network.answer(name)
    assert np.abs(expected).max() > 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)


def test_the_file_says_what_the_network_is_told(denoisers):
    assert np.abs(peer_network.answer("told") - peer_network.answer("untold")).max() > 0.1


def test_nothing_else_is_left_at_its_start(denoisers):
    """Every variable was filled: no two networks share a start."""
    for condition, denoiser in denoisers.items():
        fresh = network(condition)
        same = [w.path for w, f in zip(denoiser.weights, fresh.weights, strict=True) if np.array_equal(w, f)]
        assert same == []


def without(name):
    return {n: value for n, value in PLAIN.items() if n != name}


WRONG = {
    "missing": (without(NAME), rf"none named \['{NAME}'\]"),
    "extra": (PLAIN | {"downs.1.4.bias": np.ones(72, np.float32)}, r"Received besides: \['downs.1.4.bias'\]"),
    "shape": (
        PLAIN | {NAME: PLAIN[NAME][:, :20]},
        rf"expected {NAME} for a variable of shape \[216, 72\]. Received: \[72, 20, 1, 3, 3\]",
    ),
    "axes": (PLAIN | {NAME: PLAIN[NAME].ravel()}, rf"expected {NAME} for a variable of shape \[216, 72\]. Received"),
    "thirds": (
        PLAIN | {"downs.0.3.fn.fn.fn.to_qkv.weight": np.ones((193, 24), np.float32)},
        r"to_qkv.weight for a variable of shape \[24, 64\]. Received: \[193, 24\]",
    ),
    "conditions": (peer_network.weights(peer_network.shapes(CASES["told"])), r"Received besides: \['null_cond_emb'\]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_does_not_fit_changes_nothing(denoisers, tmp_path, what):
    content, message = WRONG[what]
    save_file(content, tmp_path / "wrong.safetensors")
    assert_refused(denoisers[None], tmp_path / "wrong.safetensors", message)


def test_other_multipliers_are_refused(denoisers, tmp_path):
    save_file(PLAIN, tmp_path / "weights.safetensors")
    for multipliers in ((1,), (1, 2), (1, 3, 3)):
        assert_refused(network(None, multipliers), tmp_path / "weights.safetensors", "`path`: expected ")


def test_pickles_are_not_read(denoisers, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04" + bytes(1000))
    assert_refused(denoisers[None], tmp_path / "model.pt", "`path`: expected a safetensors file. Received: .*model.pt")


def test_only_the_peers_network_takes_them(tmp_path):
    other = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,))
    assert_refused(
        other, tmp_path / "any.safetensors", "`denoiser`: expected a FactorisedUNet3D. Received: <Functional"
    )


def assert_refused(denoiser: keras.Model, path, message: str) -> None:
    """With the reason, and the denoiser is as it was."""
    before = denoiser.get_weights()
    with pytest.raises(ValueError, match=message):
        kvdiff.load_torch_weights(denoiser, path)
    for one, other in zip(before, denoiser.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bfloat16_weights_are_read(tmp_path):
    import ml_dtypes

    half = {name: value.astype(ml_dtypes.bfloat16) for name, value in PLAIN.items()}
    save_file(half, tmp_path / "half.safetensors")
    denoiser = network(None)
    kvdiff.load_torch_weights(denoiser, tmp_path / "half.safetensors")
    kernel = denoiser.get_layer("stem_time").query
    np.testing.assert_array_equal(kernel, half["init_temporal_attn.fn.fn.fn.to_qkv.weight"][:64].T.astype(np.float32))
