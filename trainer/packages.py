"""The project's other two packages, under either name.

A checkout has `constraints`, `models` and `trainer` side by side. The wheel installs them inside one package, so that
they cannot clash with a user's own folders of these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["constraints", "models"]

if TYPE_CHECKING or __package__ == "trainer":
    import constraints
    import models
else:
    from .. import constraints, models
