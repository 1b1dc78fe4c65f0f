"""`finesweep evaluate`: a closer look at what a finished run gets right and wrong."""
