"""How good made clips are: measures, frozen protocols, results that compare. NumPy alone, but for the I3D network.

`kvdiff.evaluation.i3d` holds that network, in Keras, and is imported only where its features are wanted.
"""

from kvdiff.evaluation.conditioning import ConditioningScore, conditioning_accuracy
from kvdiff.evaluation.evaluation import Evaluation, evaluate
from kvdiff.evaluation.frechet import FrechetEstimate, estimate_frechet, frechet_distance
from kvdiff.evaluation.neighbours import ManifoldScore, Memorisation, manifold_score, memorisation
from kvdiff.evaluation.protocols import PROTOCOLS, ClipRule, Protocol, Task, protocol_named
from kvdiff.evaluation.quality import linear_blend, psnr, repeat_last, ssim
from kvdiff.evaluation.real import RealClips, real_clips
from kvdiff.evaluation.result import compare, read_result, result_of, write_result
from kvdiff.evaluation.samples import best_of, calibration, ensemble, flicker, spread
from kvdiff.evaluation.scores import Bars, Check, GenerationScore, TaskReport, TaskScore
from kvdiff.evaluation.tasks import MadeFrames, TaskSamples, evaluate_tasks, sample_tasks

__all__ = [
    "PROTOCOLS",
    "Bars",
    "Check",
    "ClipRule",
    "ConditioningScore",
    "Evaluation",
    "FrechetEstimate",
    "GenerationScore",
    "MadeFrames",
    "ManifoldScore",
    "Memorisation",
    "Protocol",
    "RealClips",
    "Task",
    "TaskReport",
    "TaskSamples",
    "TaskScore",
    "best_of",
    "calibration",
    "compare",
    "conditioning_accuracy",
    "ensemble",
    "estimate_frechet",
    "evaluate",
    "evaluate_tasks",
    "flicker",
    "frechet_distance",
    "linear_blend",
    "manifold_score",
    "memorisation",
    "protocol_named",
    "psnr",
    "read_result",
    "real_clips",
    "repeat_last",
    "result_of",
    "sample_tasks",
    "spread",
    "ssim",
    "write_result",
]
