"""One file for each group of commands. What a command needs is imported when it runs: `cake --help` answers at once."""
