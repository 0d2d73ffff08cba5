"""The folder of one experiment: no other code knows its paths, manifests and lock."""

from __future__ import annotations

from l2s.run_dir.folder import RunDir
from l2s.run_dir.manifest import Manifest, fingerprint
from l2s.run_dir.outdated import outdated, reads_replaced_files
from l2s.run_dir.paths import SIGNAL_INDEX, SIGNALS_SHARED, ArmDir, replica_logs
from l2s.run_dir.recorded import as_made, differing, with_later

__all__ = [
    "SIGNALS_SHARED",
    "SIGNAL_INDEX",
    "ArmDir",
    "Manifest",
    "RunDir",
    "as_made",
    "differing",
    "fingerprint",
    "outdated",
    "reads_replaced_files",
    "replica_logs",
    "with_later",
]
