"""The same examples on every machine, none fails because the machine is busy, and Ctrl-C is heard in the background."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("emres", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("emres")

# What a shell starts in the background ignores SIGINT, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
