"""Presets by name and by folder: whatever is not what was saved is refused, and the network is not asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import kvdiff
from kvdiff.models import preset_folder
from kvdiff.models.preset_folder import CONFIG, METADATA, README, WEIGHTS, found_preset
from tests.models.presets import CARD, a_preset, sealed

ROOT = Path(kvdiff.__file__).parents[1]


@pytest.fixture
def no_checkout(monkeypatch, tmp_path):
    """As installed from a wheel, without the package of presets."""
    monkeypatch.setattr(preset_folder, "_CHECKOUT", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "kvdiff_presets", None)


@pytest.fixture
def installed(no_checkout, monkeypatch, tmp_path):
    """The folder of the package of presets, which a wheel has no `__init__.py` in."""
    monkeypatch.delitem(sys.modules, "kvdiff_presets")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return a_preset(tmp_path / "site" / "kvdiff_presets" / "digits").parent


def refused(preset: object, **how: object) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        found_preset(preset, **how)
    return str(caught.value)


def test_a_folder_says_what_it_is(tmp_path):
    found = found_preset(a_preset(tmp_path / "digits"))
    assert (found.name, found.folder, found.card, found.num_weights) == ("digits", tmp_path / "digits", CARD, 7)
    assert found_preset(str(tmp_path / "digits"), digest=found.digest.upper()).digest == found.digest


def test_the_package_of_presets_is_found_by_name(installed, monkeypatch):
    monkeypatch.chdir(installed.parent)
    a_preset(installed.parent / "digits", weights=b"others")  # A folder of that name is asked for by "./digits".
    assert list(kvdiff.presets()) == ["digits"]
    assert found_preset("digits").folder == installed / "digits"
    assert found_preset("./digits").folder == Path("digits")
    assert found_preset(Path("digits")).folder == Path("digits")


def test_a_checkout_has_the_presets_that_ship(monkeypatch):
    monkeypatch.setitem(sys.modules, "kvdiff_presets", None)
    assert kvdiff.presets()["moving_digits"].folder == ROOT / "saved_models" / "moving_digits"


@pytest.mark.parametrize("preset", ["digit", "no/where", "hf:/me/digits", "kaggle://me/digits", "\0"])
def test_an_unknown_name_lists_what_there_is_and_asks_nobody(installed, preset, monkeypatch):
    monkeypatch.setattr(preset_folder, "fetched", lambda *_: 1 / 0)
    message = refused(preset)
    assert "`preset`: expected the name of one that ships (['digits']), the folder of one, or hf://owner/" in message
    assert message.endswith(f"Received: {preset!r}")


def test_without_the_package_it_says_what_to_install(no_checkout):
    assert kvdiff.presets() == {}
    assert 'none here; pip install "keras-video-diffusion[demo]" brings some' in refused("moving_digits")


@pytest.mark.parametrize("preset", [None, 5, True, [1], b"digits"])
def test_what_is_no_name_is_refused(preset):
    assert "`preset`: expected a name, a folder or hf://owner/repository@commit. Received: " in refused(preset)


def test_a_folder_of_something_else_is_refused(tmp_path):
    assert refused(tmp_path) == (
        f"`preset`: expected a folder with metadata.json, as `save_to_preset` writes. Received: {tmp_path}"
    )
    (tmp_path / METADATA).write_text(json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01"}))
    assert "expected kvdiff-preset version 1, not None version None" in refused(tmp_path)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_changed_cut_and_missing_files_are_refused(tmp_path, name):
    folder = a_preset(tmp_path / "digits")
    whole = (folder / name).read_bytes()
    for content in (whole[:-1], whole[:-1] + b"?", whole + b"\n"):
        (folder / name).write_bytes(content)
        assert f"`preset`: expected {folder / name} as it was saved" in refused(folder)
    (folder / name).unlink()
    assert refused(folder) == f"`preset`: expected {name} in {folder}. Received: no such file"


def test_the_readme_may_be_written_by_hand(tmp_path):
    folder = a_preset(tmp_path / "digits")
    (folder / README).write_text("# Mine")
    assert found_preset(folder).card == CARD


def test_another_digest_is_refused(tmp_path):
    found = found_preset(a_preset(tmp_path / "digits"))
    wanted = "0" * 64
    assert refused(found.folder, digest=wanted) == (
        f"`digest`: expected that of {found.folder}, {found.digest}. Received: {wanted!r}"
    )
    assert "`digest`: expected 64 hexadecimal digits. Received: 5 (int)" in refused(found.folder, digest=5)
    sealed(found.folder, date_saved="another day")
    assert "Received: " in refused(found.folder, digest=found.digest)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "expected kvdiff-preset version 1, not kvdiff-preset version 2"),
        ({"files": {}}, "`files`: expected bytes and sha256 of config.json and model.weights.h5. Received: {} (dict)"),
        ({"files": {CONFIG: {}, WEIGHTS: {}}}, "`files`: expected bytes and sha256 of config.json"),
        ({"files": {f"../{WEIGHTS}": {}, CONFIG: {}}}, "`files`: expected bytes and sha256 of config.json"),
        ({"files": [1]}, "`files`: expected a dict of sizes and digests by name"),
        ({"files": {CONFIG: 1, WEIGHTS: 1}}, "`files`: expected a dict of sizes and digests by name"),
        ({"card": {"colour": "red"}}, "`card`: expected the arguments of PresetCard"),
        ({"card": {"data": 5}}, "`data`: expected a text"),
        ({"parameter_count": "many"}, "invalid literal for int"),
    ],
)
def test_metadata_of_another_kind_is_refused(tmp_path, changes, said):
    message = refused(sealed(a_preset(tmp_path / "digits"), **changes))
    assert f"`preset`: expected the metadata of a preset. Received: {tmp_path / 'digits' / METADATA}" in message
    assert said in message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"5", b"[" * 100_000])
def test_metadata_that_is_no_json_object_is_refused(tmp_path, content):
    folder = a_preset(tmp_path / "digits")
    (folder / METADATA).write_bytes(content)
    assert "`preset`: expected the metadata of a preset. Received: " in refused(folder)


def test_presets_are_listed_without_a_framework(run_python):
    program = (
        "import sys, kvdiff; kvdiff.presets(); print({'keras', 'tensorflow', 'huggingface_hub'} & set(sys.modules))"
    )
    assert run_python(program).strip() == "set()"
