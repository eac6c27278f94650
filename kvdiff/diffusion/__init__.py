r"""The mathematics of video diffusion: NumPy, float64, no TensorFlow and no Keras.

Every number that training, sampling, export and deployment use comes from here. The code cites the equations by number.

**The forward chain.** A clip x_0, in [-1, 1], is mixed with standard normal noise eps of the same shape:

    (1)  x_t = alpha_t x_0 + sigma_t eps,                           snr_t = alpha_t² / sigma_t², falling with t.

In DDPM (Ho et al. 2020, arXiv:2006.11239) it is built step by step,

    (2)  q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I),

and composing (2) gives (1) with alpha_t² = alphas_cumprod_t = prod_{i <= t} (1 - beta_i) and sigma_t² = 1 - alpha_t².
Between any two levels s < t, neighbours or not (Kingma et al. 2021, arXiv:2107.00630, appendix A),

    (3)  q(x_t | x_s) = N(alpha_ts x_s, sigma²_ts I),   alpha_ts = alpha_t / alpha_s,
         sigma²_ts = sigma_t² - alpha_ts² sigma_s².

**The reverse step.** Bayes' rule on (1) and (3), all Gaussian:

    (4)  q(x_s | x_t, x_0) = N( alpha_ts sigma_s²/sigma_t² x_t + alpha_s sigma²_ts/sigma_t² x_0,
                                sigma²_ts sigma_s²/sigma_t² I ).

Nobody knows x_0 while sampling, so a network predicts it. A *denoiser* is a raw network F and four numbers a level
(Karras et al. 2022, arXiv:2206.00364, eq. 7):

    (5)  D(x; t) = clamp( c_skip x + c_out F(c_in x; c_noise) ).

**Training.** F should make D equal x_0. Put x = x_t from (1) and D = x_0 into (5) and solve for F:

    (6)  F* = p x_0 + q eps,   p = (1 - c_skip alpha_t) / c_out,   q = -c_skip sigma_t / c_out.

For c_skip = 1/alpha, c_out = -sigma/alpha it is eps; for (0, 1) it is x_0; for (alpha, -sigma) it is v = alpha eps -
sigma x_0. The simple loss is the mean square of F - F* (Ho et al. 2020, eq. 14), taken over the unknown frames.

**Sampling.** Every solver is a linear recurrence with a short memory of predictions D_i = D(x; t_i):

    (7)  x <- a x + b_0 D_i + b_1 D_{i-1} + … + b_{K-1} D_{i-K+1} + std z_i,      z_i standard normal.

If D were exactly x_0, a step from level t must land on level s of (1), in mean and in variance:

    (8)  alpha_t a + sum_k b_k = alpha_s,
    (9)  (sigma_t a)² + std² = sigma_s².

A `StepTable` checks (8) and (9) on construction. A *known* frame is one whose level is clean in every row:
alpha = 1, sigma = 0, a = 1, b = 0, std = 0. That is all that tells prediction and interpolation from generation.

**The exact denoiser.** The D that training aims at is E[x_0 | x_t]. For clips drawn from N(mu, C), with A and S the
diagonal matrices of alpha_t and sigma_t, which may differ from frame to frame, it is affine:

    (10) E[x_0 | x_t] = mu + C A (A C A + S²)^+ (x_t - A mu),

and a row (7) with it carries a Gaussian x to a Gaussian x: `kvdiff.diffusion.oracle` knows what a sampler generates.

**Solvers.** (8) and (9) leave a solver two choices, std, and what it adds to the newest prediction. So each is

    (11) x <- a x + (alpha_s - a alpha_t) D_i + sum_k c_k (D_i - D_{i-k}) + std z_i,
         a = sqrt(sigma_s² - std²) / sigma_t.

With c = 0 it is DDIM, which is Euler's method in any variable (Song et al. 2021, arXiv:2010.02502, eq. 12). The others
follow from the equation that (11) solves as steps get small and std = 0. With lambda = log(alpha/sigma) for time (Lu et
al. 2022, arXiv:2211.01095, eq. 8),

    (12) x_s = sigma_s/sigma_t x_t + sigma_s integral from lambda_t to lambda_s of e^lambda D(x_lambda; lambda) dlambda,

or dy/ds = (y - D)/s in y = x/alpha and s = sigma/alpha: solvers differ in how they guess D along the step.

**Likelihood.** The variational bound on the bits that a clip costs (Ho et al. 2020, eq. 5), with (4) for q:

    (13) L = KL(q(x_T | x_0), N(0, init_std²)) + sum_{t >= 1} KL(q(x_{t-1} | x_t, x_0), p(x_{t-1} | x_t))
             - log p(x_0 | D),
         KL(q, p) = ( var_q/var_p - 1 - log(var_q/var_p) + (b (x_0 - D))²/var_p ) / 2,

b being x_0's weight in (4), summed over pixels; the last term is the mass of the pixel's value. Known frames are free.
"""

from kvdiff.diffusion.conditions import (
    ClassLabel,
    ClipVector,
    FrameTimes,
    FrameVectors,
    LowResolution,
    Observed,
    StaticFields,
    TokenIds,
    TokenSequence,
)
from kvdiff.diffusion.process import schedules, spacing
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.levels import NoiseLevels
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.sampling import bound, constraints, oracle
from kvdiff.diffusion.sampling.autoguidance import GuidedSampler
from kvdiff.diffusion.sampling.bound import bits_per_dim
from kvdiff.diffusion.sampling.cascade import Cascade, Spatial, Temporal
from kvdiff.diffusion.sampling.engine import DenoiserEngine, Engine
from kvdiff.diffusion.sampling.oracle import OracleSampler
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.solvers.by_name import step_table
from kvdiff.diffusion.solvers.step_table import StepTable, step
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks import known_frames, masks, plans
from kvdiff.diffusion.tasks.known_frames import KnownFrames
from kvdiff.diffusion.tasks.plan import Plan
from kvdiff.diffusion.transforms import (
    DBZ,
    Asinh,
    Autoencoder,
    AveragePool,
    Codec,
    Linear,
    Log1p,
    PerChannel,
    Pixels,
    Quantile,
    SquareRoot,
    Standardised,
    Unbounded,
    Values,
    fitted,
)

__all__ = [
    "DBZ",
    "SOLVERS",
    "Asinh",
    "Autoencoder",
    "AveragePool",
    "Cascade",
    "ClassLabel",
    "ClipSpec",
    "ClipVector",
    "Codec",
    "DenoiserEngine",
    "Engine",
    "FrameTimes",
    "FrameVectors",
    "GuidedSampler",
    "KnownFrames",
    "Linear",
    "Log1p",
    "LowResolution",
    "ModelSpec",
    "NoiseLevels",
    "NoiseSchedule",
    "Observed",
    "OracleSampler",
    "PerChannel",
    "Pixels",
    "Plan",
    "Prediction",
    "Quantile",
    "Sampler",
    "Spatial",
    "SquareRoot",
    "Standardised",
    "StaticFields",
    "StepTable",
    "Temporal",
    "TokenIds",
    "TokenSequence",
    "Unbounded",
    "Values",
    "bits_per_dim",
    "bound",
    "constraints",
    "fitted",
    "known_frames",
    "masks",
    "oracle",
    "plans",
    "schedules",
    "spacing",
    "step",
    "step_table",
]
