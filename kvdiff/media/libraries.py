"""The optional libraries behind files: PyAV for videos, Pillow for pictures. Imported when first needed."""

from __future__ import annotations

from typing import Any


def import_av() -> Any:
    """PyAV, with the lines that its libraries print on stderr turned off: errors are raised instead."""
    try:
        import av
    except ImportError as error:
        raise ImportError(
            'Video files need PyAV (.npy files do not): pip install "keras-video-diffusion[media]"'
        ) from error
    av.logging.set_level(av.logging.PANIC)
    return av


def import_pillow() -> Any:
    """Pillow, with the modules used here."""
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            'Pictures, labels and colourful .gif files need Pillow: pip install "keras-video-diffusion[media]"'
        ) from error
    return PIL
