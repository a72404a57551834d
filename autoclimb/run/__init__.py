"""A run: its set-up, its trials, the workers that train them, what is on disk, and the result as people use it."""
