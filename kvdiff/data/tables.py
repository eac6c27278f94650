"""Videos named by a table."""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Unpack

from kvdiff.data.dataset import ClipOptions, clip_dataset
from kvdiff.data.listing import Listing, listing_of
from kvdiff.diffusion.checks import check_path


def video_dataset_from_csv(
    path: str | os.PathLike[str],
    directory: str | os.PathLike[str] | None = None,
    *,
    path_column: str = "path",
    label_column: str | None = "label",
    class_names: Sequence[str] | None = None,
    links: str | os.PathLike[str] | None = None,
    **options: Unpack[ClipOptions],
) -> Any:
    """Clips from the videos that a CSV file names.

    Args:
        path: the CSV file, UTF-8, with a line of column names.
        directory: folder that the named files lie in; by default that of the CSV file.
        path_column: the column of paths relative to `directory`.
        label_column: the column of class names or numbers; None: no labels.
        class_names: what label 0, 1, … means; by default the names in the table, sorted (numbers by value).
        links: as in `video_dataset_from_directory`.
        options: as in `video_dataset_from_directory`, which says too what comes back.

    Raises:
        ValueError: a column that is missing, or a class that `class_names` lacks.
    """
    path = check_path("path", path)
    wanted = [path_column] if label_column is None else [path_column, label_column]
    rows = read_table(path, wanted)
    root = path.parent if directory is None else check_path("directory", directory)
    paths = [root / row[path_column] for row in rows]
    if label_column is None:
        return clip_dataset(listing_of(paths, root, None, None, links=links), **options)
    classes = [row[label_column] for row in rows]
    return clip_dataset(labelled_listing(paths, root, classes, class_names, links=links), **options)


def read_table(path: pathlib.Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, values without the spaces around them.

    Raises:
        ValueError: a column is missing, a row is too short, or there is no row.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = set(columns) - {name.strip() for name in reader.fieldnames or ()}
        if missing:
            raise ValueError(f"{path}: expected columns {list(columns)}. Received: {reader.fieldnames}")
        rows = [{(key or "").strip(): (value or "").strip() for key, value in row.items()} for row in _flat(reader)]
    if not rows:
        raise ValueError(f"{path}: expected at least one row. Received: none")
    for line, row in enumerate(rows, 2):
        if not all(row[name] for name in columns):
            raise ValueError(f"{path}: expected a value for each of {list(columns)}. Received: {row} (row {line})")
    return rows


def labelled_listing(
    paths: Sequence[pathlib.Path],
    root: pathlib.Path,
    classes: Sequence[str],
    class_names: Sequence[str] | None,
    *,
    links: str | os.PathLike[str] | None = None,
) -> Listing:
    """A listing of files with one class name each."""
    names = tuple(sorted(set(classes), key=_by_value) if class_names is None else class_names)
    if unknown := sorted(set(classes) - set(names)):
        raise ValueError(f"`class_names`: expected every class of the table. Received: none for {unknown[:5]}")
    numbers = {name: number for number, name in enumerate(names)}
    return listing_of(paths, root, [numbers[name] for name in classes], names, links=links)


def _flat(reader: csv.DictReader) -> list[dict[str, str]]:
    """Rows without what stands beyond the last column."""
    return [{key: value for key, value in row.items() if isinstance(key, str)} for row in reader]


def _by_value(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdigit() else (1, 0, name)
