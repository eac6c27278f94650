"""Clips to train on: from files, from TensorFlow Datasets, and generated on the fly."""

from __future__ import annotations

from kvdiff.data.augmentation import Augmentation
from kvdiff.data.batches import VideoBatches
from kvdiff.data.bouncing_shapes import bouncing_shapes
from kvdiff.data.dataset import clip_dataset, video_batches
from kvdiff.data.directory import video_dataset_from_directory
from kvdiff.data.field_batches import FieldBatches
from kvdiff.data.field_inspection import FieldInspection, inspect_fields
from kvdiff.data.inspection import Inspection, inspect_videos
from kvdiff.data.kinetics import kinetics
from kvdiff.data.latents import LatentCache
from kvdiff.data.listing import Listing, Video, list_directory, list_paths
from kvdiff.data.moving_digits import moving_digits
from kvdiff.data.moving_mnist import moving_mnist
from kvdiff.data.tables import video_dataset_from_csv
from kvdiff.data.tfds import video_dataset_from_tfds
from kvdiff.data.ucf101 import ucf101
from kvdiff.media import VideoError

__all__ = [
    "Augmentation",
    "FieldBatches",
    "FieldInspection",
    "Inspection",
    "LatentCache",
    "Listing",
    "Video",
    "VideoBatches",
    "VideoError",
    "bouncing_shapes",
    "clip_dataset",
    "inspect_fields",
    "inspect_videos",
    "kinetics",
    "list_directory",
    "list_paths",
    "moving_digits",
    "moving_mnist",
    "ucf101",
    "video_batches",
    "video_dataset_from_csv",
    "video_dataset_from_directory",
    "video_dataset_from_tfds",
]
