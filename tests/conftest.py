"""The same examples on every machine, and none fails because the machine is busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("emres", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("emres")
