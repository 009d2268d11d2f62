"""Files that survive a crash: atomic writes, manifests, and the cache of finished steps."""

from __future__ import annotations

from embexp.storage.files import atomic_write, copy_folder, sha256_of, sha256_of_file, write_json
from embexp.storage.manifest import write_manifest
from embexp.storage.stages import Stage, StageCache

__all__ = [
    "Stage",
    "StageCache",
    "atomic_write",
    "copy_folder",
    "sha256_of",
    "sha256_of_file",
    "write_json",
    "write_manifest",
]
