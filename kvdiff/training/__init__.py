"""What `model.fit` needs beyond Keras: exact resume, averages, distillation, previews, records, replicas, Adam.

The names below load on first use, so that one of them does not import Keras for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvdiff.system.lazy import lazily

if TYPE_CHECKING:
    from kvdiff.training.averaged_muon import AveragedMuon
    from kvdiff.training.averaging import averaged
    from kvdiff.training.batches import ClipBatches
    from kvdiff.training.budget import Annealed, StepBudget
    from kvdiff.training.checkpoint import TrainingCheckpoint
    from kvdiff.training.distillation import ProgressiveDistillation, distillation_stages
    from kvdiff.training.fused_adam import FusedAdam
    from kvdiff.training.hybrid_loss import HybridLoss
    from kvdiff.training.posthoc_ema import PostHocEMA, assign_ema
    from kvdiff.training.previews import Previews, SampleMonitor
    from kvdiff.training.reconstruction_loss import ReconstructionLoss
    from kvdiff.training.run_record import RunRecord, Throughput
    from kvdiff.training.timesteps import ImportanceSampling

_HOMES = {
    "Annealed": "budget",
    "AveragedMuon": "averaged_muon",
    "ClipBatches": "batches",
    "FusedAdam": "fused_adam",
    "HybridLoss": "hybrid_loss",
    "ImportanceSampling": "timesteps",
    "PostHocEMA": "posthoc_ema",
    "Previews": "previews",
    "ProgressiveDistillation": "distillation",
    "ReconstructionLoss": "reconstruction_loss",
    "RunRecord": "run_record",
    "SampleMonitor": "previews",
    "StepBudget": "budget",
    "Throughput": "run_record",
    "TrainingCheckpoint": "checkpoint",
    "assign_ema": "posthoc_ema",
    "averaged": "averaging",
    "distillation_stages": "distillation",
}

__all__ = [
    "Annealed",
    "AveragedMuon",
    "ClipBatches",
    "FusedAdam",
    "HybridLoss",
    "ImportanceSampling",
    "PostHocEMA",
    "Previews",
    "ProgressiveDistillation",
    "ReconstructionLoss",
    "RunRecord",
    "SampleMonitor",
    "StepBudget",
    "Throughput",
    "TrainingCheckpoint",
    "assign_ema",
    "averaged",
    "distillation_stages",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
