"""Documents, pairs and questions: records, readers, chunking, labels, splitting and the leak audit."""

from __future__ import annotations
