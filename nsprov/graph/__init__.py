"""Pictures of a topology as text: for graphviz, for Mermaid, and as an SVG of our own.

Pure functions; the same topology gives the same bytes.
"""

from __future__ import annotations

from nsprov.graph.dot import dot
from nsprov.graph.mermaid import mermaid
from nsprov.graph.svg import svg

__all__ = ["dot", "mermaid", "svg"]
