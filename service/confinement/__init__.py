"""Confines a decoder process: which addresses it reaches, which files it reads, how much memory and time it uses."""
