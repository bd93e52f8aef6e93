"""Fast paths for large and float32 tensors, found through `constraints.base.FAST_PATHS`; no set needs one.

Each module defines `project(constraint, w)`, which returns None where it does not apply, and `project_warm` for sets
with a warm start. Both take the canonical layout, w in the weights' own type.
"""
