"""`finesweep confirm`: whether a sweep's winner really wins, by fresh seeds and the test split."""
