"""A preset gives back what was saved, whole, and nothing of a stranger's runs."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Linear
from kvdiff.models.preset_folder import CONFIG, METADATA, README, WEIGHTS
from tests.models.presets import CARD, sealed
from tests.training.trainings import tiny_denoiser

FILES = {CONFIG, WEIGHTS, METADATA, README}


def network(channels: int = 1) -> keras.Model:
    return kvdiff.UNet3D(channels, widths=(8,), blocks=1, groups=4, attention=(None,))


def a_model(**options) -> kvdiff.VideoDiffusion:
    return kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser(), **options)


def same_weights(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.mark.parametrize("latent", [False, True], ids=["pixels", "latent"])
def test_weights_are_bit_identical_and_samples_equal(tmp_path, latent):
    own = dict(values=Linear(0.0, 50.0), sampling={"generate": {"num_steps": 3}}, known_noise=0.0)
    if latent:
        autoencoder = kvdiff.VideoAutoencoder(
            1, factor=2, latent_channels=2, widths=(8,), blocks=1, values=own["values"]
        )
        model = kvdiff.VideoDiffusion((4, 8, 8, 1), network(2), codec=autoencoder, **own)
    else:
        model = kvdiff.VideoDiffusion((4, 8, 8, 1), network(), **own)
    saved = model.save_to_preset(tmp_path / "rain", card=CARD)
    again = kvdiff.VideoDiffusion.from_preset(tmp_path / "rain", digest=saved.digest)
    assert {path.name for path in (tmp_path / "rain").iterdir()} == FILES
    assert len(model.get_weights()) == len(again.get_weights()) and same_weights(model, again)
    assert saved.num_weights == model.count_params()
    assert again.spec.config == model.spec.config and not again.compiled
    assert np.array_equal(again.generate(2, seed=3), model.generate(2, seed=3))
    past = np.full((1, 2, 8, 8, 1), 25.0, np.float32)
    assert np.array_equal(again.predict_frames(past, num_steps=2), model.predict_frames(past, num_steps=2))


def test_a_trained_model_is_saved_as_it_samples_and_without_its_optimizer(tmp_path, rng):
    model = a_model()
    model.compile()
    seen = []

    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            model.save_to_preset(tmp_path / "middle", overwrite=batch > 0)
            model.save(tmp_path / "middle.keras")
            seen.append(batch)

    model.fit(
        rng.integers(0, 256, (6, 4, 8, 8, 1), dtype=np.uint8), batch_size=2, epochs=1, verbose=0, callbacks=[Save()]
    )
    model.save_to_preset(tmp_path / "end")
    assert seen == [0, 1, 2]
    middle = kvdiff.VideoDiffusion.from_preset(tmp_path / "middle")
    assert same_weights(middle, kvdiff.load_model(tmp_path / "middle.keras", compile=False))
    assert same_weights(kvdiff.VideoDiffusion.from_preset(tmp_path / "end"), model)
    config = json.loads((tmp_path / "end" / CONFIG).read_text())
    assert config["registered_name"] == "kvdiff>VideoDiffusion" and not config.get("compile_config")
    fresh = a_model().save_to_preset(tmp_path / "fresh")
    assert (fresh.folder / WEIGHTS).stat().st_size == (tmp_path / "end" / WEIGHTS).stat().st_size


def test_kerashubs_metadata_is_there_and_the_card_to_read(tmp_path):
    a_model().save_to_preset(tmp_path / "digits", card=CARD.config)
    metadata = json.loads((tmp_path / "digits" / METADATA).read_text())
    assert metadata["keras_version"] == keras.__version__ and metadata["kvdiff_version"] == kvdiff.__version__
    assert metadata["parameter_count"] == a_model().count_params() and metadata["date_saved"]
    assert metadata["card"] == CARD.config
    readme = (tmp_path / "digits" / README).read_text()
    assert readme == CARD.readme("digits", f"Clips of 4 frames of 8 × 8 × 1; {a_model().count_params()} weights.")


def test_without_weights_the_network_is_new(tmp_path):
    a_model().save_to_preset(tmp_path / "a")
    fresh = kvdiff.VideoDiffusion.from_preset(tmp_path / "a", load_weights=False)
    assert fresh.spec.config == a_model().spec.config and not same_weights(fresh, kvdiff.load_model(tmp_path / "a"))


def test_load_model_opens_a_presets_folder_or_name(tmp_path, monkeypatch):
    model = a_model()
    model.save_to_preset(tmp_path / "a")
    assert same_weights(kvdiff.load_model(tmp_path / "a"), model)
    monkeypatch.setattr("kvdiff.models.preset_folder._places", lambda: [tmp_path])
    assert same_weights(kvdiff.load_model("a"), model)


def test_nothing_is_replaced_unasked(tmp_path):
    model, folder = a_model(), tmp_path / "a"
    model.save_to_preset(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="`folder`: expected a folder without config.json .*or `overwrite=True`"):
        model.save_to_preset(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**before, "notes.txt": b"mine"}
    model.save_to_preset(folder, card=CARD, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine" and CARD.summary in (folder / README).read_text()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / README).write_text("# My project")
    with pytest.raises(
        FileExistsError, match="a folder without README.md, or a preset, which `overwrite=True` replaces"
    ):
        model.save_to_preset(tmp_path / "project", overwrite=True)
    assert (tmp_path / "project" / README).read_text() == "# My project"


def test_what_cannot_be_written_leaves_the_old_preset(tmp_path, monkeypatch):
    model, folder = a_model(), tmp_path / "a"
    saved = model.save_to_preset(folder)
    monkeypatch.setattr("kvdiff.models.preset_verbs.metadata_of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        a_model().save_to_preset(folder, overwrite=True)
    assert {path.name for path in folder.iterdir()} == FILES
    assert same_weights(kvdiff.VideoDiffusion.from_preset(folder, digest=saved.digest), model)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"folder": 5}, "`folder`: expected a path. Received: 5"),
        ({"overwrite": "yes"}, "`overwrite`: expected True or False"),
        ({"card": "good"}, "`card`: expected a dict of arguments by name"),
        ({"card": {"colour": "red"}}, "`card`: expected the arguments of PresetCard"),
        ({"card": {"flaws": 5}}, "`flaws`: expected a text"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path, arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        a_model().save_to_preset(**{"folder": tmp_path / "a", **arguments})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["load_weights", "safe_mode"])
def test_flags_are_flags(tmp_path, name):
    with pytest.raises(TypeError, match=f"`{name}`: expected True or False"):
        kvdiff.VideoDiffusion.from_preset(tmp_path, **{name: "no"})


# Strangers.


def changed(folder, change):
    """A preset whose configuration is another, and whose metadata says so."""
    a_model().save_to_preset(folder)
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
    return sealed(folder)


def refused(folder, **how) -> str:
    with pytest.raises(ValueError, match="`preset`: expected a preset of a VideoDiffusion. Received: ") as caught:
        kvdiff.VideoDiffusion.from_preset(folder, **how)
    return str(caught.value)


def test_python_code_in_a_configuration_runs_only_when_it_is_asked_for(tmp_path):
    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    denoiser = keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Lambda(lambda x: 0.5 * x)(clip))
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser)
    model.save_to_preset(tmp_path / "lambda")
    assert "Lambda" in refused(tmp_path / "lambda")
    again = kvdiff.VideoDiffusion.from_preset(tmp_path / "lambda", safe_mode=False)
    assert np.array_equal(again.generate(1, num_steps=2), model.generate(1, num_steps=2))


def test_a_configuration_of_something_else_is_refused(tmp_path):
    assert "expected a VideoDiffusion, not None" in refused(
        changed(tmp_path / "a", lambda config: config.update(registered_name=None))
    )
    assert "expected a VideoDiffusion, not kvdiff>UNet3D" in refused(
        changed(tmp_path / "b", lambda config: config.update(registered_name="kvdiff>UNet3D"))
    )
    assert "registered_name" in refused(changed(tmp_path / "c", lambda config: config.clear()))


def test_weights_of_another_network_are_refused(tmp_path):
    kvdiff.VideoDiffusion((4, 8, 8, 1), network()).save_to_preset(tmp_path / "other")
    a_model().save_to_preset(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    refused(sealed(tmp_path / "a"))


def test_no_pickle_is_read(tmp_path):
    import pickle

    folder = tmp_path / "a"
    a_model().save_to_preset(folder)
    (folder / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0]}))
    refused(sealed(folder))


def test_an_older_spec_opens_and_a_newer_one_is_refused(tmp_path):
    newer = changed(tmp_path / "a", lambda config: config["config"]["spec"].update(format_version=99))
    assert "a newer kvdiff wrote 99" in refused(newer)
