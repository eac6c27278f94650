"""`tf.distribute`, on two logical CPUs: in a process of its own, because devices are set before TensorFlow starts."""

import pytest

from tests.training.devices import outcome

MIRRORED = """
import json, keras, numpy as np, tensorflow as tf
from tests.training.devices import SHAPE, clips, largest_difference, make, trained, two_cpus

two, one = two_cpus(), tf.distribute.get_strategy()
result = {}

# The last batch has 3 clips, so one replica has none of it.
weights, _ = trained(one, 27)
spread, seen = trained(two, 27, micro_batches=3, steps_per_execution=3)
result["difference"], result["seen"] = largest_difference(weights, spread), seen.tolist()
start = make()
result["moved"] = largest_difference(weights[:3], [v.numpy() for v in start.trainable_variables[:3]])

with two.scope():
    model = make()
noisy = lambda: model.noised(tf.zeros((8, *SHAPE)), 0)[0]["noisy_clip"]
first, second = (t.numpy() for t in two.experimental_local_results(tf.function(lambda: two.run(noisy))()))
whole = start.noised(tf.zeros((16, *SHAPE)), 0)[0]["noisy_clip"].numpy()
result["correlation"] = np.corrcoef(first.ravel(), second.ravel())[0, 1]
result["split"] = float(np.abs(np.concatenate([first, second]) - whole).max())

planted = clips(16)
planted[13] = np.nan  # In the second batch, on the second replica.
try:
    model.fit(tf.data.Dataset.from_tensor_slices(planted).batch(8), verbose=0, shuffle=False)
except ValueError as error:
    result["stopped"] = str(error)
result["finite"] = bool(all(np.isfinite(v.numpy()).all() for v in model.trainable_variables))
print("RESULT", json.dumps(result))
"""


@pytest.fixture(scope="module")
def result():
    return outcome(MIRRORED)


def test_two_times_four_equals_one_times_eight(result):
    """With dropout, clipping, averaged weights, micro-batches, several steps a call, and a short last batch."""
    assert result["moved"] > 1e-3  # There was training to compare.
    assert result["difference"] < 1e-6


def test_every_sample_is_seen_once_an_epoch(result):
    assert result["seen"] == [2.0] * 27


def test_replicas_draw_different_noise(result):
    assert abs(result["correlation"]) < 5 / (8 * 48) ** 0.5


def test_the_global_batch_has_one_noise_however_it_is_split(result):
    assert result["split"] == 0.0


def test_a_nan_on_one_replica_stops_all_before_the_update(result):
    assert result["stopped"].startswith("training step 2: clips: expected values in [-1, 1], no NaN")
    assert result["finite"]


# Longer.

OVERFLOW = """
import json, keras, numpy as np, tensorflow as tf
from kvdiff.diffusion import Unbounded
from tests.training.devices import clips, largest_difference, make, two_cpus

two = two_cpus()
keras.mixed_precision.set_global_policy("mixed_float16")


def trained(batches):
    with two.scope():
        model = make(values=Unbounded())  # Pixels past [-1, 1] would be refused before the step.
    model.optimizer.inner_optimizer.finalize_variable_values = lambda variables: None
    model.fit(tf.data.Dataset.from_tensor_slices(np.concatenate(batches)).batch(8), verbose=0, shuffle=False)
    kept = [v for v in model.optimizer.inner_optimizer.variables if "learning_rate" not in v.path]
    return model, [*model.trainable_variables, *kept]


good = clips(16)
planted = clips(8)
planted[6] *= 1e4  # The second replica's: its loss is finite, its float16 gradients are not.
model, skipped = trained([good[:8], planted, good[8:]])
_, without = trained([good[:8], good[8:]])
copies = [[c.numpy() for c in two.experimental_local_results(v.value)] for v in skipped]
print("RESULT", json.dumps({
    "iterations": int(model.optimizer.iterations.numpy()),
    "scale": float(model.optimizer.dynamic_scale.numpy()),
    "finite": bool(all(np.isfinite(c).all() for pair in copies for c in pair)),
    "replicas": max(float(np.abs(a - b).max()) for a, b in copies),
    "without": largest_difference([v.numpy() for v in skipped], [v.numpy() for v in without]),
}))
"""


@pytest.mark.slow
def test_a_float16_overflow_on_one_replica_skips_the_step_on_all():
    result = outcome(OVERFLOW)
    assert result["finite"] and result["iterations"] == 2
    assert result["scale"] == 2.0**14  # Halved once.
    assert result["replicas"] == 0.0
    assert result["without"] < 1e-4  # As if the batch had not been there, but for float16 rounding.


ADAMW_AND_XLA = """
import json, tensorflow as tf
from tests.training.devices import largest_difference, trained, two_cpus

two, one = two_cpus(), tf.distribute.get_strategy()
weights, _ = trained(one, 48, epochs=1, optimizer="adamw")
print("RESULT", json.dumps({
    "adamw": largest_difference(weights, trained(two, 48, epochs=1, optimizer="adamw")[0]),
    "xla": largest_difference(weights, trained(two, 48, epochs=1, optimizer="adamw", jit_compile=True)[0]),
}))
"""


@pytest.mark.slow
def test_adamw_and_xla_do_not_depend_on_the_replicas_either():
    result = outcome(ADAMW_AND_XLA)
    assert result["adamw"] < 1e-5 and result["xla"] < 1e-5
