"""Files that survive a crash: atomic writes, records, manifests and the stage cache."""
