"""The HTML report of an entry: one file that opens without a network."""
