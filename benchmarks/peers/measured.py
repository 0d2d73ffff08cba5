"""Run a script in this process, then write its peak memory; compare.py starts each step of a peer through this.

python measured.py OUT.json SCRIPT [ARGUMENT ...]
"""

import json
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> None:
    """Run the script as its own program would, and measure as l2s measures its stages."""
    import torch

    from l2s.devices import peak_memory_bytes

    out, *sys.argv = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:  # a command line ends so even where all went well
        if end.code:
            raise
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    Path(out).write_text(json.dumps({"peak_memory_bytes": peak_memory_bytes(device)}))


if __name__ == "__main__":
    main()
