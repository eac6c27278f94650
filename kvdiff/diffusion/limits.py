"""What a file or a caller may ask for at most: far beyond any use, and still no trouble to set up."""

from __future__ import annotations

MAX_TIMESTEPS = 1_000_000
"""Timesteps of a schedule, whose arrays then take 16 MB."""
MAX_CLIP = 2**31
"""Numbers of a clip, 8 GiB."""
MAX_FEATURES = 2**20
"""Classes of a label, or numbers of a vector."""
MAX_TOKENS = 2**16
"""Of a text."""
MAX_VALUE = 1e30
"""Of users' numbers, which are float32."""
MAX_LOGSNR = 1000.0
"""Of a log-SNR and of its shift, either way; exp(MAX_LOGSNR / 2) is a number still."""
