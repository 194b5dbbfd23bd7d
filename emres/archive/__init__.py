"""Where maps and models come from and rest; one door per format."""
