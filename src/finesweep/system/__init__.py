"""What knows nothing of fine-tuning: processes, files, the screen, secrets."""
