"""Results whose sources have been made again since: what their stages read, beside what is there now."""

from __future__ import annotations

from collections.abc import Mapping

from l2s.run_dir.manifest import Manifest


def reads_replaced_files(manifest: Manifest, manifests: Mapping[str, Manifest]) -> bool:
    """Whether the stage read files of the other stages that have been made again since, and are others now."""
    made = {label: sha for other in manifests.values() for label, sha in other.outputs.items()}
    return any(made.get(label, sha) != sha for label, sha in manifest.inputs.items())


def outdated(manifests: Mapping[str, Manifest]) -> list[str]:
    """The stages that read such files, and those that read results of these, in the order of `manifests`."""
    makers = {label: stage for stage, manifest in manifests.items() for label in manifest.outputs}
    found = {stage for stage, manifest in manifests.items() if reads_replaced_files(manifest, manifests)}
    new = found
    while new:
        new = {stage for stage, one in manifests.items() if {makers.get(label) for label in one.inputs} & new} - found
        found = found | new
    return [stage for stage in manifests if stage in found]
