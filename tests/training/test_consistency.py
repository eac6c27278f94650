"""A consistency student's target: exact on Gaussian data, whatever the levels; and soon closer to many calls in one."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvdiff
from kvdiff.diffusion import NoiseSchedule, Prediction, oracle, step_table
from kvdiff.diffusion.conditions import ClassLabel
from kvdiff.diffusion.sampling.oracle import OracleSampler
from kvdiff.training import ClipBatches, ConsistencyTuning, TrainingCheckpoint
from tests.training import trainings
from tests.training.test_distillation import (
    DATA,
    PAIR,
    SHAPE,
    clips,  # noqa: F401
    teacher,  # noqa: F401
    tiny,
)
from tests.training.trainings import digest

SCHEDULE = {"name": "logsnr", "num_timesteps": 24, "logsnr_min": -8.0, "logsnr_max": 8.0}
OF = NoiseSchedule.from_config(SCHEDULE)
KINDS = {"none": 0, "first": 0, "ends": 0, "random": 0}


def less_noisy(timestep: int, halvings: int) -> int:
    """The timestep r of t; -1 is clean."""
    position = timestep + 1
    return position - math.ceil(position / 2**halvings) - 1


def ends(known: bool, halvings: int, of: NoiseSchedule = OF) -> list[oracle.Affine]:
    """By timestep the affine map of x_t to where steps of DDIM with the exact D lead, from t to r to … to the clip."""
    made: list[oracle.Affine] = []
    is_known = np.array([known, False])
    for timestep in range(of.num_timesteps):
        (alpha, sigma), less = (of.alpha[timestep], of.sigma[timestep]), less_noisy(timestep, halvings)
        matrix, offset = DATA.affine(np.where(is_known, 1.0, alpha), np.where(is_known, 0.0, sigma))
        if less >= 0:
            share = np.where(is_known, 0.0, of.sigma[less] / sigma)
            signal = np.where(is_known, 1.0, of.alpha[less] - share * alpha)
            inner, shift = made[less]
            matrix, offset = inner @ (np.diag(share) + signal[:, None] * matrix), inner @ (signal * offset) + shift
        made.append((matrix, offset))
    return made


@keras.saving.register_keras_serializable(package="tests")
class Mapped(keras.layers.Layer):
    """The raw output of a network whose prediction of x_0 is an affine map of x_t: `maps`, or else the exact mean."""

    maps: dict | None = None

    def __init__(self, prediction: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.prediction = prediction

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs["noisy_clip"].shape, "float32")

    def call(self, inputs):
        noisy, labels = (np.asarray(inputs[name], np.float64) for name in ("noisy_clip", "noise_label"))
        prediction = Prediction(self.prediction)
        if self.maps is None:
            return tf.constant(OracleSampler(DATA, PAIR, OF, prediction).engine.denoise(noisy, labels, {}), tf.float32)
        row, raw = prediction.preconditioning(OF.alpha, OF.sigma), np.zeros(noisy.shape)
        for index, label in enumerate(labels):
            known, at = label == 0, np.abs(row.c_noise - label.max()).argmin()
            if known.all():
                continue
            x = noisy[index].ravel() / np.where(known, 1.0, row.c_in[at])
            matrix, offset = self.maps[bool(known[0])][at]
            raw[index, :, 0, 0, 0] = np.where(known, 0.0, (matrix @ x + offset - row.c_skip[at] * x) / row.c_out[at])
        return tf.constant(raw, tf.float32)

    def get_config(self):
        return {**super().get_config(), "prediction": self.prediction}


def mapped_model(prediction: str = "v", kinds: dict = KINDS | {"none": 1}) -> kvdiff.VideoDiffusion:
    inputs = {
        "noisy_clip": keras.Input((2, 1, 1, 1), name="noisy_clip"),
        "noise_label": keras.Input((2,), name="noise_label"),
    }
    denoiser = keras.Model(inputs, Mapped(prediction, name="mapped")(inputs))
    arguments = dict(schedule=SCHEDULE, prediction=prediction, known_frames=kinds)
    return kvdiff.VideoDiffusion((2, 1, 1, 1), denoiser, **arguments)


def knows_the_end(tuning: ConsistencyTuning, halvings: int) -> ConsistencyTuning:
    """With a student that is where it should be."""
    tuning.student.denoiser.get_layer("mapped").maps = {known: ends(known, halvings) for known in (False, True)}
    return tuning


@pytest.fixture(scope="module")
def pairs() -> np.ndarray:
    return OracleSampler(DATA, PAIR, OF, Prediction("x0")).generate(96, num_steps=24).astype("float32").clip(-1, 1)


@pytest.mark.parametrize("kind", ["none", "first"])
@pytest.mark.parametrize("prediction", ["v", "eps", "edm"])
def test_the_end_of_the_teachers_steps_has_no_loss(prediction: str, kind: str, pairs: np.ndarray) -> None:
    model = mapped_model(prediction, KINDS | {kind: 1})
    for halvings in (1, 2, 9):
        tuning = knows_the_end(ConsistencyTuning(model, jump="teacher", halve_every=1), halvings)
        inputs, target, weight = tuning.noised(tf.constant(pairs), halvings - 1)
        unknown = np.asarray(inputs["noise_label"]) > 0
        assert ((np.asarray(weight)[:, :, 0, 0] > 0) == unknown).all() and (np.asarray(target)[~unknown] == 0).all()
        if kind == "first":
            np.testing.assert_array_equal(inputs["noisy_clip"][:, 0], pairs[:, 0])
        np.testing.assert_allclose(tuning(inputs), target, atol=2e-4)
        tuning.student.denoiser.get_layer("mapped").maps = None  # The mean of x_0 is no such end,
        assert np.abs(tuning(inputs) - tuning.noised(tf.constant(pairs), halvings - 1)[1]).max() > 0.02 or halvings == 1


def test_near_levels_lead_to_the_probability_flow() -> None:
    """Gaussian data have it in closed form: m + C^½ (alpha² C + sigma²)^-½ (x_t - alpha m)."""
    of = NoiseSchedule.from_config({**SCHEDULE, "num_timesteps": 200})
    values, vectors = np.linalg.eigh(DATA.covariance)
    flow = (vectors * np.sqrt(values / (of.alpha[-1] ** 2 * values + of.sigma[-1] ** 2))) @ vectors.T
    wrong = [np.abs(ends(False, halvings, of)[-1][0] - flow).max() / np.abs(flow).max() for halvings in (1, 2, 4, 9)]
    assert wrong[0] > 0.3 and wrong[3] < 0.02 and wrong == sorted(wrong, reverse=True)


def test_data_and_teacher_teach_the_same_in_the_mean() -> None:
    """What is learnt from data is right on average at every level, to five standard errors; the mean of x_0 is not."""
    count, halvings = 24_000, 2
    drawn = np.random.default_rng(0).multivariate_normal(DATA.mean.ravel(), DATA.covariance, count)
    tuning = knows_the_end(ConsistencyTuning(mapped_model(), halve_every=1), halvings)
    assert tuning.jump == "data"
    inputs, target, _ = tuning.noised(tf.constant(drawn.reshape(-1, 2, 1, 1, 1).clip(-1, 1), tf.float32), halvings - 1)
    x, label = np.asarray(inputs["noisy_clip"])[..., 0, 0, 0], np.asarray(inputs["noise_label"])[:, 0]

    def largest(output: np.ndarray) -> float:
        """Of the correlations of what is wrong with 1 and x_t at each level, in standard errors."""
        wrong, found = (np.asarray(target) - np.asarray(output))[..., 0, 0, 0], []
        for level in np.unique(label):
            here = label == level
            for feature in (np.ones(here.sum()), *x[here].T):
                products = wrong[here] * feature[:, None]
                found += list(np.abs(products.mean(0)) / (products.std(0) / np.sqrt(here.sum()) + 1e-9))
        return max(found)

    assert largest(tuning(inputs)) < 5
    tuning.student.denoiser.get_layer("mapped").maps = {
        False: [DATA.affine(*at) for at in zip(OF.alpha, OF.sigma, strict=True)]
    }
    assert largest(tuning(inputs)) > 20


def test_noise_is_a_function_of_seed_step_and_sample(pairs: np.ndarray) -> None:
    tuning = ConsistencyTuning(mapped_model())
    of_all, target, _ = tuning.noised(pairs, 3)
    of_few, target_of_few, _ = tuning.noised(pairs[:5], 3)
    np.testing.assert_allclose(of_all["noisy_clip"][:5], of_few["noisy_clip"], atol=1e-6)
    np.testing.assert_allclose(target[:5], target_of_few, atol=1e-4)  # Of "v" rounding counts 1 / sigma times.


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_any_number_of_calls_samples_the_data(num_steps: int) -> None:
    """With the end of the probability flow in closed form, `consistency` has the exact mean and covariance."""
    values, vectors = np.linalg.eigh(DATA.covariance)
    mean = DATA.mean.ravel()

    def network(c_in, alpha, sigma):
        alpha, sigma = float(np.max(alpha)), float(np.max(sigma))
        flow = (vectors * np.sqrt(values / (alpha**2 * values + sigma**2))) @ vectors.T
        return flow / np.max(c_in), mean - flow @ (alpha * mean)  # Prediction "x0": F is the end itself.

    of = NoiseSchedule.from_config({"name": "cosine", "num_timesteps": 64}).with_zero_terminal_snr()
    table = step_table(of, Prediction("x0"), solver="consistency", num_steps=num_steps)
    made = oracle.push_through(table, network, DATA.mean.shape)[-1]
    np.testing.assert_allclose(made.mean, DATA.mean, atol=1e-9)
    np.testing.assert_allclose(made.covariance, DATA.covariance, atol=1e-9)


# A network that learnt.


@pytest.fixture(scope="module")
def tuning(teacher, clips):  # noqa: F811
    keras.utils.set_random_seed(0)
    tuning = ConsistencyTuning(teacher, halve_every=60)
    tuning.compile(keras.optimizers.Adam(5e-3, use_ema=True, ema_momentum=0.9))
    tuning.fit(clips, batch_size=16, epochs=8, verbose=0)
    return tuning


def test_one_call_comes_near_to_many_of_the_teacher(teacher, tuning) -> None:  # noqa: F811
    goal = teacher.generate(32, num_steps=32, solver="ddim", seed=7)
    how = {**tuning.sampling, "num_steps": 1, "seed": 7}
    before, after = (np.square(each.generate(32, **how) - goal).mean() for each in (teacher, tuning.student))
    assert after < 0.5 * before
    assert digest(tuning.teacher.variables) == digest(teacher.variables) != digest(tuning.student.variables)


def test_the_student_is_a_model_like_any_other(tuning, clips, tmp_path) -> None:  # noqa: F811
    known = np.array([True, False, True, False])
    video = tuning.student.infill(clips[:3], known, **tuning.sampling)
    np.testing.assert_array_equal(video[:, known], clips[:3, known])
    tuning.student.save(tmp_path / "student.keras")
    loaded = kvdiff.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded.generate(2, **tuning.sampling), tuning.student.generate(2, **tuning.sampling))


def test_the_tuning_is_saved_with_both_and_its_optimizer(tuning, clips, tmp_path) -> None:  # noqa: F811
    tuning.save(tmp_path / "tuning.keras")
    loaded = keras.saving.load_model(tmp_path / "tuning.keras")
    assert digest(loaded.variables) == digest(tuning.variables)
    assert digest(loaded.optimizer.variables) == digest(tuning.optimizer.variables)
    assert (loaded.halve_every, loaded.jump, loaded.guidance) == (60, "data", 1.0)


def test_a_tuning_that_was_cut_off_goes_on_with_the_same_bits(tmp_path) -> None:
    model = trainings.make_model()

    def trained(folder, *epochs):
        batches = ClipBatches(trainings.clips(), trainings.BATCH, seed=1)
        for until in epochs:
            keras.utils.set_random_seed(0)  # Keras' own dropout, in this network, draws its seed when it is copied.
            tuning = ConsistencyTuning(model, halve_every=4)
            tuning.compile()
            checkpoint = TrainingCheckpoint(tmp_path / folder, batches)
            options = dict(steps_per_epoch=batches.steps_per_epoch, shuffle=False, verbose=0)
            tuning.fit(checkpoint.dataset(), epochs=until, callbacks=[checkpoint], **options)
        return digest([*tuning.variables, *tuning.optimizer.variables])

    assert trained("cut", 1, 2) == trained("whole", 2)


def test_a_guided_teacher_teaches_only_clips_of_conditions_otherwise() -> None:
    keras.utils.set_random_seed(0)
    model = tiny(conditions={"kind": ClassLabel(3)})
    model.set_weights(
        [w + 0.1 * np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(model.get_weights())]
    )
    rng = np.random.default_rng(1)
    batch = (tf.constant(rng.uniform(-1, 1, (24, *SHAPE)), tf.float32), tf.constant(np.arange(24) % 3))
    guided, plain = (ConsistencyTuning(model, jump="teacher", guidance=weight) for weight in (2.5, 1.0))
    inputs, target, _ = guided.noised(batch, 0)
    told = np.asarray(inputs["told"])[:, 0]
    assert set(told) == {0.0, 1.0}
    differs = np.abs(np.asarray(target) - plain.noised(batch, 0)[1]).max(axis=(1, 2, 3, 4)) > 1e-3
    np.testing.assert_array_equal(differs, told == 1.0)


def test_wrong_arguments_are_named(teacher) -> None:  # noqa: F811
    cases = [
        (dict(halve_every=0), "`halve_every`: expected an integer >= 1. Received: 0"),
        (dict(jump="both"), "`jump`: expected one of .'data', 'teacher'.. Received: 'both'"),
        (dict(guidance=2.0), "`guidance`: expected 1, for `teacher` knows no conditions. Received: 2.0"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            ConsistencyTuning(teacher, **arguments)
    with pytest.raises(ValueError, match="`jump`: expected 'teacher', whom `guidance` = 2.0 guides"):
        ConsistencyTuning(tiny(conditions={"kind": ClassLabel(3)}), jump="data", guidance=2.0)
    with pytest.raises(ValueError, match="`teacher`: expected one that predicts v.* one of x0"):
        ConsistencyTuning(mapped_model("x0"))
    with pytest.raises(TypeError, match="`teacher`: expected a VideoDiffusion"):
        ConsistencyTuning(teacher.denoiser)
