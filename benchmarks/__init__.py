"""Ratios measured side by side in one run: ``python -m benchmarks [NAME…] [--small]``. See README.md."""
