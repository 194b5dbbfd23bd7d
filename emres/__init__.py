"""Local resolution of cryo-EM maps."""
