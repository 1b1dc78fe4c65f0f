"""From the words of a command line to a checked config, and what of it may be called."""
