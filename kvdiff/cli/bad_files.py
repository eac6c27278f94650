"""What to do about a file that cannot be read, said beside what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvdiff.media import VideoError

if TYPE_CHECKING:
    from kvdiff.data.bad_files import BadFiles


@contextlib.contextmanager
def advice_on_bad_files(bad_files: BadFiles | None = None) -> Iterator[None]:
    """Name `kvdiff data inspect` and `--skip-bad` in the error of a bad file.

    Args:
        bad_files: of the data that are trained on; TensorFlow has another error in place of the one that they raise.
    """
    try:
        yield
    except Exception as error:
        found = error if isinstance(error, VideoError) else getattr(bad_files, "raised", None)
        if found is None:
            raise
        raise VideoError(
            found.path,
            f"{found.reason}. `kvdiff data inspect {found.path.parent}` lists every bad file; --skip-bad leaves them "
            "out, up to a tenth of all",
        ) from error
