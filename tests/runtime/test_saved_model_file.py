"""A SavedModel of a stranger's: what does more than compute is refused before TensorFlow opens it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.export.manifest import write_manifest
from kvdiff.runtime import ArtefactError, SavedModelSampler
from kvdiff.runtime.format import MEMORY, SERVED_COLUMNS
from kvdiff.runtime.manifest import canonical_json, load_folder, manifest_path, sealed
from kvdiff.runtime.saved_model import SAVED_MODEL
from kvdiff.runtime.saved_model_file import SAMPLER, check_saved_model
from tests.runtime.handmade import SAMPLER as CONFIG

CLIP, FRAMES, CALLS = (4, 8, 8, 1), (4,), 5
SPECS = {
    "denoise": {"noisy_clip": (CLIP, "float32"), "noise_label": (FRAMES, "float32")},
    "sample": {
        "start": (CLIP, "float32"),
        "start_std": (FRAMES, "float32"),
        "table": ((CALLS, len(SERVED_COLUMNS), *FRAMES), "float32"),
        "b": ((CALLS, MEMORY, *FRAMES), "float32"),
        **dict.fromkeys(("num_calls", "first_draw", "seed", "sample"), ((), "int64")),
    },
}
Harm = Callable[[Any], Any]
"""What a signature does with its clip besides."""


def write_version(folder: Path, harm: Harm = lambda clip: clip, **attributes: Any) -> Path:
    """A version whose two signatures hand back their clip, with a manifest that is right in everything."""
    module = tf.Module()
    module.variable = tf.Variable(np.float32(0.5))
    module.sampler = tf.function(lambda: tf.constant(canonical_json(CONFIG)), input_signature=[])
    for name, value in attributes.items():
        setattr(module, name, value)

    def made(signature: str, clip_in: str, clip_out: str) -> Any:
        specs = {k: tf.TensorSpec([None, *shape], kind, name=k) for k, (shape, kind) in SPECS[signature].items()}

        def call(**inputs: Any) -> Any:
            return {clip_out: harm(inputs[clip_in] * module.variable)}

        return tf.function(call, autograph=False).get_concrete_function(**specs)

    signatures = {"denoise": made("denoise", "noisy_clip", "raw_output"), "sample": made("sample", "start", "clip")}
    tf.saved_model.save(module, str(folder), signatures)
    return seal(folder)


def seal(folder: Path, **sections: Any) -> Path:
    """A manifest of what lies in the folder now."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    described = {
        f"{signature}/{name}": {"shape": ["batch", *shape]}
        for signature, specs in SPECS.items()
        for name, (shape, _) in specs.items()
    }
    outputs = {name: {"shape": ["batch", *CLIP]} for name in ("denoise/raw_output", "sample/clip")}
    known = {"sampler": CONFIG, "serving": {"max_calls": CALLS}, "versions": {}, "parity": {}}
    write_manifest(
        folder, SAVED_MODEL.kind, sorted(files), **{**known, "inputs": described, "outputs": outputs, **sections}
    )
    return folder


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("served") / "1")


def copied(version: Path, folder: Path, change: Callable[[Any], Any]) -> Path:
    """A copy with another saved_model.pb, sealed anew."""
    tf.io.gfile.makedirs(str(folder / "variables"))
    for path in version.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(version)).write_bytes(path.read_bytes())
    content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    change(content)
    (folder / "saved_model.pb").write_bytes(content.SerializeToString())
    return seal(folder)


def test_a_sound_one_opens(version: Path) -> None:
    sampler = SavedModelSampler(version)
    assert (sampler.engine.max_calls, sampler.spec.clip) == (CALLS, ClipSpec(*CLIP))
    clip = np.ones((2, *CLIP), np.float32)
    np.testing.assert_array_equal(sampler.engine.denoise(clip, np.zeros((2, 4), np.float32)), clip / 2)


def written(path: str) -> Harm:
    def harm(clip: Any) -> Any:
        tf.io.write_file(path, tf.constant("pwned"))
        return clip

    return harm


def read(path: str) -> Harm:
    def harm(clip: Any) -> Any:
        return clip + tf.cast(tf.strings.length(tf.io.read_file(path)), tf.float32)

    return harm


def in_a_branch(inner: Harm) -> Harm:
    """Inside a function that a function calls, in one branch of two."""

    def harm(clip: Any) -> Any:
        called = tf.function(lambda x: inner(x), autograph=False)
        return tf.cond(tf.reduce_sum(clip) > 0, lambda: called(clip), lambda: clip)

    return harm


def saved(path: str) -> Harm:
    """By the very operators that every SavedModel has for its own variables."""

    def harm(clip: Any) -> Any:
        tf.raw_ops.SaveV2(prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[clip])
        return clip

    return harm


HARMS: dict[str, tuple[Callable[[str], Harm], str]] = {
    "WriteFile": (written, "an operator 'WriteFile'"),
    "ReadFile": (read, "an operator 'ReadFile'"),
    "WriteFile deep inside": (lambda path: in_a_branch(written(path)), "an operator 'WriteFile'"),
    "ReadFile deep inside": (lambda path: in_a_branch(read(path)), "an operator 'ReadFile'"),
    "SaveV2": (saved, "its functions .* read or write files"),
    "SaveV2 deep inside": (lambda path: in_a_branch(saved(path)), "its functions .* read or write files"),
    "MatchingFiles": (
        lambda path: lambda clip: clip + tf.cast(tf.size(tf.io.matching_files("/*")), tf.float32),
        "an operator 'MatchingFiles'",
    ),
    "Python": (
        lambda path: lambda clip: tf.ensure_shape(tf.numpy_function(lambda x: x, [clip], tf.float32), [None, *CLIP]),
        "an operator 'PyFunc'",
    ),
    "printing to a file": (
        lambda path: lambda clip: (tf.print("pwned", output_stream=f"file://{path}"), clip)[1],
        "an operator '(StringFormat|PrintV2)'",
    ),
    "memory as it was left": (
        lambda path: lambda clip: clip + tf.raw_ops.Empty(shape=[1], dtype=tf.float32),
        "an operator 'Empty'",
    ),
}


@pytest.mark.parametrize("what", HARMS)
def test_what_does_more_than_compute_never_runs(tmp_path: Path, what: str) -> None:
    harm, message = HARMS[what]
    folder = write_version(tmp_path / "1", harm(str(tmp_path / "pwned")))
    with pytest.raises(ArtefactError, match=message):
        SavedModelSampler(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_assets_and_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a\n")
    with pytest.raises(ArtefactError, match=r"which holds \['assets/words'\]"):
        check(write_version(tmp_path / "1", words=tf.saved_model.Asset(str(tmp_path / "words"))))
    keys, values = tf.constant(["a"]), tf.constant([1])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)
    with pytest.raises(ArtefactError, match="an object|an operator"):
        check(write_version(tmp_path / "2", table=table))


def check(folder: Path) -> int:
    return check_saved_model(load_folder(folder, SAVED_MODEL.kind))


def add_node(content: Any, **fields: Any) -> None:
    content.meta_graphs[0].graph_def.node.add(name="more", **fields)


def add_function(content: Any, name: str, *calls: str) -> None:
    function = content.meta_graphs[0].graph_def.library.function.add()
    function.signature.name = name
    for index, called in enumerate(calls):
        function.node_def.add(name=f"n{index}", op="PartitionedCall").attr["f"].func.name = called


def large_constant(content: Any) -> None:
    tensor = content.meta_graphs[0].graph_def.node.add(name="large", op="Const").attr["value"].tensor
    tensor.float_val.append(1.0)
    for _ in range(4):
        tensor.tensor_shape.dim.add(size=2**10)


def large_variable(content: Any) -> None:
    for node in content.meta_graphs[0].object_graph_def.nodes:
        if node.WhichOneof("kind") == "variable":
            node.variable.shape.dim.add(size=2**40)


FILES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "outside of functions": (lambda content: add_node(content, op="ReadFile"), "an operator 'ReadFile'"),
    "a function by an operator's name": (lambda content: add_function(content, "ReadFile"), "names of operators"),
    "a circle": (lambda c: (add_function(c, "f", "g"), add_function(c, "g", "f")), "call each other in a circle"),
    "itself": (lambda content: add_function(content, "f", "f"), "call each other in a circle"),
    "a package's object": (
        lambda content: setattr(content.meta_graphs[0].object_graph_def.nodes[0], "registered_name", "pkg.Thing"),
        "an object 'pkg.Thing'",
    ),
    "a class": (
        lambda c: setattr(c.meta_graphs[0].object_graph_def.nodes[0].user_object, "identifier", "optimizer"),
        "an object 'optimizer'",
    ),
    "no objects": (lambda content: content.meta_graphs[0].ClearField("object_graph_def"), "it has no objects"),
    "two graphs": (lambda content: content.meta_graphs.add(), "is no SavedModel"),
    "no graph": (lambda content: content.ClearField("meta_graphs"), "is no SavedModel"),
    "a constant of a tebibyte": (large_constant, "a constant of .1024, 1024, 1024, 1024."),
    "a variable of a tebibyte": (large_variable, "a variable of .1099511627776."),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_no_library_writes(version: Path, tmp_path: Path, what: str) -> None:
    change, message = FILES[what]
    with pytest.raises(ArtefactError, match=message):
        check(copied(version, tmp_path / "1", change))


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt", "assets/a", "variables/other", "more/x"])
def test_files_that_tensorflow_might_read_instead_are_refused(version: Path, tmp_path: Path, name: str) -> None:
    folder = copied(version, tmp_path / "1", lambda content: None)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(ArtefactError, match=f"which holds .'{name}'.; no export does"):
        check(seal(folder))


@pytest.mark.parametrize("serving", [None, {}, [], {"max_calls": "x"}, {"max_calls": 2.5}, {"max_calls": 10**9}])
def test_a_section_that_is_missing_or_wrong_is_named(version: Path, tmp_path: Path, serving: Any) -> None:
    folder = copied(version, tmp_path / "1", lambda content: None)
    with pytest.raises(ArtefactError, match="`max_calls`: expected an integer from 1 to"):
        check(seal(folder, serving=serving))


def test_no_saved_model_at_all(version: Path, tmp_path: Path) -> None:
    folder = copied(version, tmp_path / "1", lambda content: None)
    (folder / "saved_model.pb").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(ArtefactError, match="saved_model.pb is damaged"):
        check(seal(folder))
    (folder / "saved_model.pb").unlink()
    with pytest.raises(ArtefactError, match=r"has no saved_model\.pb"):
        check(seal(folder))


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("schedule", lambda config: config["schedule"].update(logsnr_shift=1.0)),
        ("prediction", lambda config: config["prediction"].update(name="eps")),
    ],
)
def test_the_manifests_sampler_is_held_to_the_files_own(
    version: Path, tmp_path: Path, section: str, change: Callable[[Any], Any]
) -> None:
    """Otherwise the clips would be wrong without a word."""
    folder, config = copied(version, tmp_path / "1", lambda content: None), json.loads(canonical_json(CONFIG))
    change(config)
    with pytest.raises(ArtefactError, match="whose own sampler configuration is not the one in its manifest"):
        SavedModelSampler(seal(folder, sampler=config))


def test_a_file_of_an_older_kvdiff_which_does_not_tell_its_sampler_opens(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "1", **{SAMPLER: None})
    assert SavedModelSampler(folder).engine.max_calls == CALLS


def test_the_manifests_signatures_are_held_to_the_files_own(version: Path, tmp_path: Path) -> None:
    folder = copied(version, tmp_path / "1", lambda content: None)
    content = json.loads(manifest_path(folder).read_text())
    content["inputs"]["sample/table"]["shape"][1] = CALLS + 1
    manifest_path(folder).write_text(json.dumps(sealed(content)))
    with pytest.raises(ArtefactError, match="whose inputs are .* its manifest says"):
        SavedModelSampler(folder)
