"""How good made frames are: PSNR, baselines that need no learning, and a protocol for the three tasks. NumPy alone."""

from kvdiff.evaluation.quality import linear_blend, psnr, repeat_last
from kvdiff.evaluation.scores import Bars, Check, GenerationScore, TaskReport, TaskScore
from kvdiff.evaluation.tasks import MadeFrames, TaskSamples, evaluate_tasks, sample_tasks

__all__ = [
    "Bars",
    "Check",
    "GenerationScore",
    "MadeFrames",
    "TaskReport",
    "TaskSamples",
    "TaskScore",
    "evaluate_tasks",
    "linear_blend",
    "psnr",
    "repeat_last",
    "sample_tasks",
]
