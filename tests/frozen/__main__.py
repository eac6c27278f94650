"""`record OUT.npz`, `compare A.npz B.npz`; `weights` and `artefacts FOLDER` made the files that are stored."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys


def main() -> int:
    # One thread, so that sums are added up in one order.
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(prog="python -m tests.frozen", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run the calls")
    recording.add_argument("out", type=pathlib.Path)
    recording.add_argument("--only", default="", help="calls whose names contain this")
    comparing = commands.add_parser("compare", help="say equal, or which calls differ and by how much")
    comparing.add_argument("before", type=pathlib.Path)
    comparing.add_argument("after", type=pathlib.Path)
    commands.add_parser("weights", help="draw the networks' weights, into weights.npz")
    exporting = commands.add_parser("artefacts", help="export the stored artefacts and record their videos")
    exporting.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()

    if arguments.command == "record":
        from tests.frozen.record import NAMES, record

        record(arguments.out, [name for name in NAMES if arguments.only in name])
    elif arguments.command == "compare":
        from tests.frozen.record import compare

        lines = compare(arguments.before, arguments.after)
        print(*lines or ["equal"], sep="\n")
        return any(not line.startswith("intended") for line in lines)
    elif arguments.command == "weights":
        from tests.frozen.artefacts import draw_weights

        draw_weights()
    else:
        from tests.frozen.artefacts import export_all

        export_all(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
