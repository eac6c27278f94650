"""A folder of checkpoints that one training owns: the last few are kept, a damaged one is passed over and reported."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import warnings
from collections.abc import Callable
from typing import Any

from kvdiff.diffusion.checks import check_count
from kvdiff.training.checkpoint_file import DamagedCheckpointError, TrainingState, read_checkpoint, write_checkpoint

_NAME = re.compile(r"step-(\d{10})\.npz")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.EPERM)


class CheckpointFolder:
    """`step-0000000042.npz`, … in a folder, newest last.

    Args:
        folder: created by `lock` if need be.
        keep: how many checkpoints stay.
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 3) -> None:
        self.folder = pathlib.Path(folder)
        self.keep = check_count("keep", keep)
        self._lock: Any = None

    def lock(self) -> None:
        """Keep other trainings out, until `unlock` or the end of the process, however it ends.

        A file system without locks, as some that lie on a network, is used with a warning.

        Raises:
            RuntimeError: another training, in this process or another, holds the folder.
        """
        from filelock import FileLock, Timeout  # Who only reads needs none.

        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or FileLock(self.folder / "lock", blocking=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise RuntimeError(
                f"`directory`: expected one that no training uses. Received: {self.folder}, which another one holds; "
                "wait for its end, or name another folder"
            ) from error
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"{self.folder}: its file system has no locks ({error}); see that no other training uses it",
                stacklevel=2,
            )

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.release()

    def paths(self) -> list[pathlib.Path]:
        """The checkpoints, by step."""
        return sorted(path for path in self.folder.glob("step-*") if _NAME.fullmatch(path.name))

    def newest(
        self, check: Callable[[pathlib.Path, TrainingState], None] = lambda path, state: None
    ) -> tuple[pathlib.Path, TrainingState] | None:
        """The newest checkpoint that is whole; None where there is none at all.

        A warning says of each damaged one what is wrong with it; under the lock they are renamed to `….damaged`.

        Args:
            check: raises DamagedCheckpointError of one that is whole and contradicts itself.

        Raises:
            DamagedCheckpointError: there are checkpoints, and every one is damaged.
        """
        damaged: DamagedCheckpointError | None = None
        for path in reversed(self.paths()):
            try:
                state = read_checkpoint(path)
                check(path, state)
            except DamagedCheckpointError as error:
                damaged = error
                warnings.warn(f"passed over a damaged checkpoint, {error}", stacklevel=2)
                continue
            if self._lock is not None and self._lock.is_locked:
                self._set_aside(after=path)
            return path, state
        if damaged is not None:
            raise DamagedCheckpointError(damaged.path, f"{damaged.reason}; no older checkpoint is whole either")
        return None

    def clear(self) -> None:
        """Remove every checkpoint, damaged ones too."""
        for path in self.folder.glob("*step-*.npz*"):
            path.unlink()

    def save(self, step: int, state: TrainingState) -> pathlib.Path:
        """Write the checkpoint of `step`, then remove all but the newest `keep`; returns its path.

        On a full disk all but the newest go first, one after the other, until there is room.

        Raises:
            OSError: it cannot be written. The newest is still there then.
        """
        path = self.folder / f"step-{step:010d}.npz"
        while True:
            try:
                write_checkpoint(path, state)
                break
            except OSError as error:
                older = self.paths()[:-1]
                if error.errno not in _FULL or not older:
                    raise
                older[0].unlink()
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def _set_aside(self, after: pathlib.Path) -> None:
        """Rename the checkpoints after a whole one: they are damaged, and must not count among those that are kept."""
        for path in self.paths():
            if path.name > after.name:
                path.replace(path.with_name(f"{path.name}.damaged"))
