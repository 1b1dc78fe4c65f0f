"""Searches: a study, the workers that run its trials, and what they leave."""
