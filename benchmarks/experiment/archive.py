"""Keep experiments in the repository, small: every prediction, results.json, settings and manifests; no weights.

    python benchmarks/experiment/archive.py pack outputs/experiment/NAME ...
    python benchmarks/experiment/archive.py unpack NAME --output_dir outputs/kept

The first writes benchmarks/experiment/results/NAME.tar.xz, the second outputs/kept/NAME. There,
`l2s report outputs/kept/NAME` rebuilds the report, and refuses files that have changed since their stage wrote them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.experiment_archive import archived, pack, unpack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="archive finished experiments")
    packing.add_argument("run_dirs", type=Path, nargs="+", metavar="outputs/experiment/NAME")
    unpacking = commands.add_parser("unpack", help="write archived experiments to a folder")
    unpacking.add_argument("names", nargs="*", metavar="NAME", help="experiments [all]")
    unpacking.add_argument("--output_dir", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        done = [pack(run_dir) for run_dir in arguments.run_dirs]
    else:
        done = [unpack(name, arguments.output_dir) for name in arguments.names or archived()]
    print(*done, sep="\n")


if __name__ == "__main__":
    main()
