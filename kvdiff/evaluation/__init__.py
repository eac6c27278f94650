"""How good generated clips are: measures, frozen protocols, results that compare. NumPy alone, but for the I3D network.

`kvdiff.evaluation.i3d` holds that network, in Keras, and is imported only where its features are wanted.
"""

from kvdiff.evaluation.appearance import aligned_psnr, gradient_energy, identity, sharpness_ratio
from kvdiff.evaluation.bars import Bars, Check
from kvdiff.evaluation.conditioning import ConditioningScore, conditioning_accuracy
from kvdiff.evaluation.digit_classifier import DigitClassifier
from kvdiff.evaluation.ensembles import crps, rank_histogram, reliability, spread_skill
from kvdiff.evaluation.evaluation import Evaluation, evaluate
from kvdiff.evaluation.events import contingency, csi, far, fractions_skill_score, fss, pod, pooled
from kvdiff.evaluation.forecast_cases import ForecastCases, cases_of, cases_of_fields, read_cases
from kvdiff.evaluation.forecast_protocols import FORECASTS, ForecastProtocol
from kvdiff.evaluation.forecasting import ForecastEvaluation, evaluate_forecasts
from kvdiff.evaluation.frechet import FrechetEstimate, estimate_frechet, frechet_distance
from kvdiff.evaluation.neighbours import ManifoldScore, Memorisation, manifold_score, memorisation
from kvdiff.evaluation.protocols import (
    PROTOCOLS,
    ClipRule,
    Protocol,
    Task,
    half_and_half,
    protocol_for,
    protocol_named,
)
from kvdiff.evaluation.quality import blend_known, psnr, ssim
from kvdiff.evaluation.real import RealClips, real_clips
from kvdiff.evaluation.reconstruction import Reconstruction, reconstruction
from kvdiff.evaluation.result import compare, figures_of, read_result, result_of, write_result
from kvdiff.evaluation.samples import best_of, calibration, ensemble, flicker, spread
from kvdiff.evaluation.scoring import TaskClips
from kvdiff.evaluation.spectra import power_spectrum

__all__ = [
    "FORECASTS",
    "PROTOCOLS",
    "Bars",
    "Check",
    "ClipRule",
    "ConditioningScore",
    "DigitClassifier",
    "Evaluation",
    "ForecastCases",
    "ForecastEvaluation",
    "ForecastProtocol",
    "FrechetEstimate",
    "ManifoldScore",
    "Memorisation",
    "Protocol",
    "RealClips",
    "Reconstruction",
    "Task",
    "TaskClips",
    "aligned_psnr",
    "best_of",
    "blend_known",
    "calibration",
    "cases_of",
    "cases_of_fields",
    "compare",
    "conditioning_accuracy",
    "contingency",
    "crps",
    "csi",
    "ensemble",
    "estimate_frechet",
    "evaluate",
    "evaluate_forecasts",
    "far",
    "figures_of",
    "flicker",
    "fractions_skill_score",
    "frechet_distance",
    "fss",
    "gradient_energy",
    "half_and_half",
    "identity",
    "manifold_score",
    "memorisation",
    "pod",
    "pooled",
    "power_spectrum",
    "protocol_for",
    "protocol_named",
    "psnr",
    "rank_histogram",
    "read_cases",
    "read_result",
    "real_clips",
    "reconstruction",
    "reliability",
    "result_of",
    "sharpness_ratio",
    "spread",
    "spread_skill",
    "ssim",
    "write_result",
]
