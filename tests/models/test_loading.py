import keras
import numpy as np
import pytest

import kvdiff


@pytest.mark.parametrize("network", ["UNet3D", "FactorisedUNet3D"])
def test_a_fresh_process_needs_no_other_import(network, run_python, tmp_path):
    options = {"UNet3D": dict(widths=(12,), blocks=1, groups=4, attention=(None,))}
    options["FactorisedUNet3D"] = dict(width=4, multipliers=(1,), heads=1)
    model = kvdiff.VideoDiffusion((2, 4, 4, 1), getattr(kvdiff, network)(1, **options[network]))
    model.save(tmp_path / "model.keras")
    program = "import kvdiff, sys; print(kvdiff.load_model(sys.argv[1]).generate(1, num_steps=1).shape)"
    printed = run_python(program.replace("sys.argv[1]", repr(str(tmp_path / "model.keras"))))
    assert printed.strip() == "(1, 2, 4, 4, 1)"


def test_a_loader_of_keras_own_finds_the_classes(run_python, tmp_path):
    denoiser = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,))
    kvdiff.VideoDiffusion((2, 4, 4, 1), denoiser).save(tmp_path / "model.keras")
    program = f"import keras, kvdiff; print(type(keras.saving.load_model({str(tmp_path / 'model.keras')!r})).__name__)"
    assert run_python(program).strip() == "VideoDiffusion"


def test_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path`: expected a .keras file. Received: .*nowhere.keras"):
        kvdiff.load_model(tmp_path / "nowhere.keras")
    (tmp_path / "noise.keras").write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(ValueError, match="`path`: expected a model that kvdiff saved. Received: .*noise.keras"):
        kvdiff.load_model(tmp_path / "noise.keras")
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(
        ValueError, match="`path`: expected a VideoDiffusion model. Received: .*other.keras, a Functional"
    ):
        kvdiff.load_model(tmp_path / "other.keras")
