"""A run's model with its card and its outcome, as a folder and as a repository of the Hugging Face Hub."""

from __future__ import annotations

from embexp.publishing.hub import Repository, push
from embexp.publishing.origins import origins
from embexp.publishing.publication import Publication, publish

__all__ = ["Publication", "Repository", "origins", "publish", "push"]
