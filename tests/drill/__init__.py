"""The drill: everything that can go wrong on a cluster does, and nothing is lost."""
