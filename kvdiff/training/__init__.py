"""What `model.fit` needs beyond Keras: exact resume, averages, distillation, previews, records, replicas, Adam.

The names below load on first use, so that one of them does not import Keras for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvdiff.system.lazy import lazily

if TYPE_CHECKING:
    from kvdiff.training.averaged_muon import AveragedMuon as AveragedMuon
    from kvdiff.training.averaging import averaged as averaged
    from kvdiff.training.batches import ClipBatches as ClipBatches
    from kvdiff.training.budget import Annealed as Annealed, StepBudget as StepBudget
    from kvdiff.training.checkpoint import TrainingCheckpoint as TrainingCheckpoint
    from kvdiff.training.consistency import ConsistencyTuning as ConsistencyTuning
    from kvdiff.training.distillation import (
        ProgressiveDistillation as ProgressiveDistillation,
        distillation_stages as distillation_stages,
    )
    from kvdiff.training.estimate import (
        TrainingEstimate as TrainingEstimate,
        estimate_training as estimate_training,
    )
    from kvdiff.training.fused_adam import FusedAdam as FusedAdam
    from kvdiff.training.hybrid_loss import HybridLoss as HybridLoss
    from kvdiff.training.posthoc_ema import PostHocEMA as PostHocEMA, assign_ema as assign_ema
    from kvdiff.training.previews import Previews as Previews, SampleMonitor as SampleMonitor
    from kvdiff.training.reconstruction_loss import ReconstructionLoss as ReconstructionLoss
    from kvdiff.training.run_record import RunRecord as RunRecord, Throughput as Throughput
    from kvdiff.training.timesteps import ImportanceSampling as ImportanceSampling

_HOMES = {
    "Annealed": "budget",
    "AveragedMuon": "averaged_muon",
    "ClipBatches": "batches",
    "ConsistencyTuning": "consistency",
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
    "TrainingEstimate": "estimate",
    "assign_ema": "posthoc_ema",
    "averaged": "averaging",
    "distillation_stages": "distillation",
    "estimate_training": "estimate",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazily(__name__, _HOMES)
