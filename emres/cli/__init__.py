"""The command line: one file a theme, late imports, and the only place that prints."""
