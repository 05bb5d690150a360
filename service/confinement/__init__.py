"""Confines a decoder process: the addresses it reaches, the files it reads, the memory and time it uses."""
