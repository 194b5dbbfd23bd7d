"""Atomic models to density, and to half maps of known, spatially varying resolution."""
