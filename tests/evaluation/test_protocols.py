"""Protocols stay what they were when their version was given, and say everything."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from kvdiff.evaluation.protocols import PROTOCOLS, ClipRule, Protocol, Task, protocol_named

# Frozen: a protocol whose digest changes is another protocol and needs another version.
DIGESTS = {
    "moving-digits-demo@1": "eacd74785f362d9f1d96ffe822794e039cf61d37d788266eee0592abe0622f13",
    "moving-digits-8@1": "29c83a785ac39817a0cb01a3313912a6988e0ff927cfbeeacabf46788cfaa9d9",
    "moving-digits-demo@2": "0919c3bfacc299c23028bdabcc3c4becb89024c33af925253f92f8a20c46a65e",
    "moving-digits-8@2": "558ab2b1cd2ba8fa58754ea81e8dacef134b1db81d73b86f31986309cbd9df5e",
    "moving-digits-20@1": "6c9de57b61be3f585e48bcb3cb932d59fbca2bf37d65dbd8a0eac19fc9e4dd0c",
    "moving-mnist-5-10@1": "43d34e2f5987b2315740496d5e71b1dc8dbdf4a1b88473e24b7a50b1f531c2a5",
    "kth-10-30@1": "73d6cd6964fb14e10ec2724b7c648f22c75f6928d69e58eaa7d229d5f87efd07",
    "ucf101-uncond-16@1": "c595832b2ffe330053cd7ef88b5d8531a671e1d3c6b4a2fd44f90f96aa728d26",
    "bair-1-15@1": "4947e876ce792743bc253b6833640b0789a4b9ccdee46902ef7d28b2140bd4ab",
}


def test_every_protocol_is_frozen():
    assert {title: protocol.sha256 for title, protocol in PROTOCOLS.items()} == DIGESTS


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_configuration_says_every_choice(protocol):
    again = json.loads(json.dumps(protocol.config))
    fields = {field.name for field in dataclasses.fields(Protocol)}
    assert set(again) == fields
    rebuilt = Protocol(
        **{
            **again,
            "clips": ClipRule(**again["clips"]),
            "clip_shape": tuple(again["clip_shape"]),
            "tasks": tuple(Task(**task) for task in again["tasks"]),
        }
    )
    assert rebuilt == protocol and rebuilt.sha256 == protocol.sha256


@pytest.mark.parametrize(
    ("title", "known", "made"),
    [("moving-mnist-5-10@1", 5, 10), ("kth-10-30@1", 10, 30), ("bair-1-15@1", 1, 15), ("ucf101-uncond-16@1", 0, 16)],
)
def test_the_name_says_which_frames_are_known_and_made(title, known, made):
    protocol = protocol_named(title)
    (task,) = protocol.tasks
    assert protocol.clip_shape[0] == known + made
    np.testing.assert_array_equal(task.known(known + made), np.arange(known + made) < known)


def test_the_three_tasks_of_the_shipped_model():
    known = {task.name: task.known(8).tolist() for task in protocol_named("moving-digits-8@1").tasks}
    assert known == {
        "prediction": [True] * 4 + [False] * 4,
        "interpolation": [True] * 2 + [False] * 4 + [True] * 2,
        "generation": [False] * 8,
    }


def test_any_change_changes_the_digest_and_the_title():
    protocol = protocol_named("moving-digits-8@1")
    assert protocol.title == "moving-digits-8@1"
    changed = protocol.reduced(4)
    assert changed.num_clips == 4 and changed.bits_per_dim_clips == 4
    assert changed.title == "moving-digits-8@1 (changed: 4 clips)"
    counted = dataclasses.replace(protocol, frechet_counts_known=False)
    assert len({protocol.sha256, changed.sha256, counted.sha256}) == 3


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"`protocol`: expected one of .*'kth-10-30@1'.* Received: 'kth-10-30'"):
        protocol_named("kth-10-30")
    with pytest.raises(ValueError, match="`source`"):
        ClipRule("web", "anything")
    with pytest.raises(ValueError, match="`psnr_of`"):
        dataclasses.replace(protocol_named("bair-1-15@1"), psnr_of="sets")
