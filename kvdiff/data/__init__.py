"""Clips to train on."""

from __future__ import annotations

from kvdiff.data.moving_digits import moving_digits

__all__ = ["moving_digits"]
