"""One file for each group of commands. Each command imports what it needs when it runs, so that `cake --help` is
fast.
"""
