"""MocapStreams: untrimmed videos of motion-captured figures, synthesised with their annotations."""
