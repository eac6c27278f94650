"""Presets on the Hugging Face hub: files of one commit, by `huggingface_hub`, which is asked only for them."""

from __future__ import annotations

import pathlib
import re

HUB = "hf://"
"""How the address of a preset on a hub begins."""
_ADDRESS = re.compile(r"hf://([\w-][\w.-]*/[\w-][\w.-]*)@(.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetched(address: str, *files: str) -> pathlib.Path:
    """The folder with some files of a repository, downloaded where they are not there already.

    Args:
        address: "hf://owner/repository@commit", the commit by all of its 40 hexadecimal digits: a branch or a tag may
            be another tomorrow.
        *files: their names.

    Raises:
        ValueError: another address, or one that the hub does not have.
        ImportError: no `huggingface_hub`.
        OSError: the hub cannot be reached.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"`preset`: expected hf://owner/repository@commit. Received: {address!r}")
    repository, commit = found.groups()
    if not _COMMIT.fullmatch(commit):
        raise ValueError(
            "`preset`: expected the 40 hexadecimal digits of a commit after the @, as the hub's history of the "
            f"repository lists them, for a branch or a tag may change. Received: {commit!r} in {address!r}"
        )
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise ImportError(
            f'{address} needs huggingface_hub: pip install "keras-video-diffusion[hub]"', name="huggingface_hub"
        ) from error
    absent = errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError
    try:
        folder = [pathlib.Path(hf_hub_download(repository, name, revision=commit)) for name in files][-1].parent
    except errors.LocalEntryNotFoundError as error:  # One of an entry that is not found, for want of a hub.
        raise ConnectionError(
            f"`preset`: expected a hub that can be reached. Received: {address} ({_said(error)})"
        ) from error
    except (*absent, errors.HFValidationError) as error:
        raise ValueError(
            f"`preset`: expected a repository with {' and '.join(files)}. Received: {address} ({_said(error)})"
        ) from error
    if folder.name != commit:
        raise ValueError(f"`preset`: expected files of commit {commit}. Received: those of {folder.name}")
    return folder


def _said(error: Exception) -> str:
    """The hub's message, shortened."""
    return " ".join(str(error).split())[:200]
