"""One step of the student is two of the teacher, exactly where that is exact, and soon enough where it learnt."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvdiff
from kvdiff.diffusion import ClipSpec, NoiseSchedule, Prediction, step, step_table
from kvdiff.diffusion.conditions import ClassLabel
from kvdiff.diffusion.conditions.conditioning import Conditioning, guided_output
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.diffusion.transforms.clamps import clamp_to
from kvdiff.training import ClipBatches, ProgressiveDistillation, TrainingCheckpoint, distillation_stages
from tests.training import trainings
from tests.training.trainings import digest

SCHEDULE = {"name": "logsnr", "num_timesteps": 200, "logsnr_min": -6.0, "logsnr_max": 8.0}
PAIR = ClipSpec(2, 1, 1, 1)
DATA = GaussianClips(np.full((2, 1, 1, 1), 0.1), 0.04 * np.array([[1.0, 0.8], [0.8, 1.0]]))
SHAPE = (4, 8, 8, 1)
STEPS = 2


def exact_network(schedule: NoiseSchedule, prediction: str):
    """F(noisy_clip, noise_label, inputs), perfectly trained."""
    return OracleSampler(DATA, PAIR, schedule, Prediction(prediction)).engine.denoise


@keras.saving.register_keras_serializable(package="tests")
class Exact(keras.layers.Layer):
    """The raw output of a perfectly trained network; remembers what it was asked."""

    def __init__(self, prediction: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.prediction, self.asked = prediction, []
        self.exact = exact_network(NoiseSchedule.from_config(SCHEDULE), prediction)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs["noisy_clip"].shape, "float32")

    def call(self, inputs):
        clip, label = (np.asarray(inputs[name], np.float64) for name in ("noisy_clip", "noise_label"))
        self.asked.append((clip, label))
        return tf.constant(self.exact(clip, label, {}), tf.float32)

    def get_config(self):
        return {**super().get_config(), "prediction": self.prediction}


def exact_model(prediction: str, **arguments) -> kvdiff.VideoDiffusion:
    inputs = {
        "noisy_clip": keras.Input((2, 1, 1, 1), name="noisy_clip"),
        "noise_label": keras.Input((2,), name="noise_label"),
    }
    denoiser = keras.Model(inputs, Exact(prediction, name="exact")(inputs))
    return kvdiff.VideoDiffusion((2, 1, 1, 1), denoiser, schedule=SCHEDULE, prediction=prediction, **arguments)


def landings(stage, inputs, target, denoise):
    """Where one step of the student goes whose answer is `target`, and two of the teacher by `denoise`: float64."""
    noisy, label = (np.asarray(inputs[name], np.float64) for name in ("noisy_clip", "noise_label"))
    diffusion, count = stage.student.forward_diffusion, stage.num_steps
    once, twice = (
        step_table(diffusion.schedule, diffusion.prediction, solver="ddim", num_steps=n) for n in (count, 2 * count)
    )
    nearest = np.abs(once.c_noise[:, 0] - label.max(axis=1)[:, None])
    assert nearest.min(axis=1).max() < 1e-6  # Every clip is on the student's grid,
    index = nearest.argmin(axis=1)
    assert set(index) == set(range(count))  # and every level of it comes up.
    ones, twos = [], []
    for i, at in enumerate(index):
        known = label[i] == 0.0
        row = list(once.with_known(known).rows(np.float64))[at]
        x = noisy[i : i + 1] / row.c_in
        ones.append(step(row, x, np.asarray(target[i : i + 1], np.float64), (0.0,), 0.0, clamp_to(None))[0])
        for row in list(twice.with_known(known).rows(np.float64))[2 * at : 2 * at + 2]:
            out = denoise(row.c_in * x, np.broadcast_to(row.c_noise[..., 0, 0, 0], x.shape[:2]), i)
            x = step(row, x, out, (0.0,), 0.0, clamp_to((-1.0, 1.0)))[0]
        twos.append(x)
    return np.concatenate(ones), np.concatenate(twos)


@pytest.fixture(scope="module")
def pairs():
    made = OracleSampler(DATA, PAIR, NoiseSchedule.from_config(SCHEDULE), Prediction("x0")).generate(48)
    return np.clip(made, -1, 1).astype("float32")


@pytest.mark.parametrize("prediction", ["v", "x0", "eps", "edm"])
def test_one_step_to_the_target_lands_where_two_exact_steps_do(prediction, pairs):
    stage = ProgressiveDistillation(exact_model(prediction), 4)
    inputs, target, _ = stage.noised(tf.constant(pairs), 3)
    network = exact_network(stage.student.spec.schedule, prediction)
    one, two = landings(stage, inputs, target, lambda x, label, _: network(x, label, {}))
    np.testing.assert_allclose(one, two, atol=1e-5)
    exact = network(*(np.asarray(inputs[name], np.float64) for name in ("noisy_clip", "noise_label")), {})
    unknown = np.asarray(inputs["noise_label"]) > 0
    assert np.abs(np.asarray(target) - exact)[unknown].max() > 1e-3  # It is not the teacher's own answer.


def test_known_frames_are_clean_for_teacher_and_student_and_outside_the_loss(pairs):
    stage = ProgressiveDistillation(exact_model("v", known_frames={"none": 0, "first": 1, "ends": 0, "random": 0}), 4)
    inputs, target, weight = (np.asarray(x) if not isinstance(x, dict) else x for x in stage.noised(pairs, 3))
    assert (np.asarray(inputs["noise_label"])[:, 0] == 0).all() and (np.asarray(inputs["noise_label"])[:, 1] > 0).all()
    np.testing.assert_array_equal(inputs["noisy_clip"][:, 0], pairs[:, 0])
    (first, first_label), (second, second_label) = stage.teacher.denoiser.get_layer("exact").asked[-2:]
    for clip, label in ((first, first_label), (second, second_label)):
        np.testing.assert_array_equal(clip[:, 0], pairs[:, 0])
        assert (label[:, 0] == 0).all()
    assert (second_label[:, 1] < first_label[:, 1]).all() and (second_label[:, 1] > 0).all()
    assert (weight[:, 0] == 0).all() and (weight[:, 1] > 0).all() and (target[:, 0] == 0).all()


def test_noise_is_a_function_of_seed_step_and_sample(pairs):
    stage = ProgressiveDistillation(exact_model("v"), 4)
    of_all, target, _ = stage.noised(pairs, 3)
    of_few, target_of_few, _ = stage.noised(pairs[:5], 3)
    np.testing.assert_array_equal(of_all["noisy_clip"][:5], of_few["noisy_clip"])
    np.testing.assert_allclose(target[:5], target_of_few, atol=1e-6)
    assert np.abs(np.asarray(stage.noised(pairs, 4)[0]["noise_label"]) - of_all["noise_label"]).max() > 0.1


# A network that learnt.


def tiny(**arguments) -> kvdiff.VideoDiffusion:
    denoiser = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), **arguments)
    return kvdiff.VideoDiffusion(SHAPE, denoiser, schedule={"name": "cosine", "num_timesteps": 100}, seed=2)


@pytest.fixture(scope="module")
def clips():
    """Vertical bars of random brightness."""
    rng = np.random.default_rng(0)
    bars = rng.choice([-0.8, 0.8], (512, 1, 1, SHAPE[2], 1))
    return np.broadcast_to(bars, (512, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def teacher(clips):
    keras.utils.set_random_seed(0)
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    model.fit(clips, batch_size=16, epochs=4, verbose=0)
    return model


@pytest.fixture(scope="module")
def stage(teacher, clips):
    keras.utils.set_random_seed(0)
    stage = ProgressiveDistillation(teacher, STEPS)
    stage.compile(keras.optimizers.Adam(5e-3, use_ema=True, ema_momentum=0.9))
    stage.fit(clips, batch_size=16, epochs=6, verbose=0)
    return stage


def test_training_moves_the_student_towards_twice_as_many_steps(teacher, stage):
    sampling = dict(seed=7, solver="ddim")
    goal = teacher.generate(32, num_steps=2 * STEPS, **sampling)
    before = np.square(teacher.generate(32, num_steps=STEPS, **sampling) - goal).mean()
    after = np.square(stage.student.generate(32, **{**sampling, **stage.sampling}) - goal).mean()
    assert stage.sampling["num_steps"] == STEPS
    assert after < 0.4 * before


def test_the_teacher_stays_as_it_is(teacher, stage):
    assert digest(stage.teacher.variables) == digest(teacher.variables) != digest(stage.student.variables)
    assert len(stage.trainable_variables) == len(teacher.trainable_variables)
    assert {id(v) for v in stage.trainable_variables} == {id(v) for v in stage.student.trainable_variables}


def test_the_student_predicts_with_its_known_frames_untouched(stage, clips):
    known = np.array([True, False, True, False])
    video = stage.student.infill(clips[:3], known, **stage.sampling)
    np.testing.assert_array_equal(video[:, known], clips[:3, known])
    assert (np.abs(video - clips[:3])[:, ~known].max(axis=(2, 3, 4)) > 0).all()


def test_the_student_is_saved_as_the_model_that_it_is(stage, tmp_path):
    stage.student.save(tmp_path / "student.keras")
    loaded = kvdiff.load_model(tmp_path / "student.keras")
    assert type(loaded) is kvdiff.VideoDiffusion
    np.testing.assert_array_equal(loaded.generate(2, **stage.sampling), stage.student.generate(2, **stage.sampling))


def test_the_stage_is_saved_with_both_and_its_optimizer(stage, clips, tmp_path):
    stage.save(tmp_path / "stage.keras")
    loaded = keras.saving.load_model(tmp_path / "stage.keras")
    assert digest(loaded.variables) == digest(stage.variables)
    assert digest(loaded.optimizer.variables) == digest(stage.optimizer.variables)
    assert loaded.sampling == stage.sampling
    assert loaded.evaluate(clips[:16], verbose=0) == pytest.approx(stage.evaluate(clips[:16], verbose=0), rel=1e-6)


def test_a_distillation_that_was_cut_off_goes_on_with_the_same_bits(tmp_path):
    teacher = trainings.make_model()

    def trained(folder, *epochs):
        batches = ClipBatches(trainings.clips(), trainings.BATCH, seed=1)
        for until in epochs:
            keras.utils.set_random_seed(0)  # Keras' own dropout, in this network, draws its seed when it is copied.
            stage = ProgressiveDistillation(teacher, STEPS)
            stage.compile()
            checkpoint = TrainingCheckpoint(tmp_path / folder, batches)
            options = dict(steps_per_epoch=batches.steps_per_epoch, shuffle=False, verbose=0)
            stage.fit(checkpoint.dataset(), epochs=until, callbacks=[checkpoint], **options)
        return digest([*stage.variables, *stage.optimizer.variables])

    assert trained("cut", 1, 2) == trained("whole", 2)


def test_every_student_teaches_the_next(teacher):
    seen = []
    for stage in distillation_stages(teacher, (8, 4, 2)):
        stage.student.set_weights([w + 0.01 for w in stage.student.get_weights()])  # In place of training.
        seen.append((stage.num_steps, stage))
    assert [count for count, _ in seen] == [8, 4, 2]
    assert digest(seen[0][1].teacher.variables) == digest(teacher.variables)
    for (_, before), (_, after) in itertools.pairwise(seen):
        assert digest(after.teacher.variables) == digest(before.student.variables)


def test_the_student_of_a_guided_teacher_needs_no_guidance():
    keras.utils.set_random_seed(0)
    model = tiny(conditions={"kind": ClassLabel(3)})
    model.set_weights(
        [w + 0.1 * np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(model.get_weights())]
    )
    rng, told = np.random.default_rng(1), np.arange(24) % 3
    batch = (tf.constant(rng.uniform(-1, 1, (24, *SHAPE)), tf.float32), tf.constant(told))
    first, second = distillation_stages(model, (4, 2), guidance=2.5)
    assert (first.guidance, second.guidance) == (2.5, 1.0)
    inputs, target, _ = first.noised(batch, 0)
    assert set(np.asarray(inputs["told"]).ravel()) == {0.0, 1.0}  # Some clips are told nothing.

    def guided(x, label, i):
        of_clip = {name: np.asarray(inputs[name])[i : i + 1] for name in ("kind", "told")}
        question = Conditioning(model.spec.conditions, of_clip, np.array([2.5], np.float32))
        return guided_output(
            np, lambda *asked: np.asarray(model.sampler.engine.denoise(*asked)), x.astype("float32"), label, question
        )

    one, two = landings(first, inputs, target, guided)
    np.testing.assert_allclose(one, two, atol=2e-5)
    unguided = ProgressiveDistillation(model, 4).noised(batch, 0)[1]
    differs = np.abs(np.asarray(target) - unguided).max(axis=(1, 2, 3, 4)) > 1e-3
    np.testing.assert_array_equal(differs, np.asarray(inputs["told"])[:, 0] == 1.0)


def test_wrong_arguments_are_named(teacher):
    cases = [
        (dict(num_steps=0), "`num_steps`: expected an integer from 1 to 50. Received: 0"),
        (dict(num_steps=51), "`num_steps`: expected an integer from 1 to 50. Received: 51"),
        (dict(num_steps=4, guidance=2.0), "`guidance`: expected 1, for `teacher` knows no conditions. Received: 2.0"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            ProgressiveDistillation(teacher, **arguments)
    with pytest.raises(ValueError, match="`teacher`: expected a model that learned no variance"):
        ProgressiveDistillation(kvdiff.VideoDiffusion(SHAPE, learned_variance=True), 4)
    frozen = tiny()
    frozen.trainable = False
    with pytest.raises(ValueError, match="`teacher`: expected a trainable model"):
        ProgressiveDistillation(frozen, 4)
    for counts in ((8, 3), (4, 8), ()):
        with pytest.raises(ValueError, match="`num_steps`: expected numbers that halve"):
            list(distillation_stages(teacher, counts))
