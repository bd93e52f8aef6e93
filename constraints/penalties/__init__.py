"""Penalties, applied as proximal maps: one a file, named as its key in the registry."""
