"""A run: its set-up, its trials, the workers that train them, its folder on disk, and the result as people use it."""
