"""One config, executed once: the run, its folder, and what is read from it later."""
