"""What graders and people get: the submission, the leaderboard, the inspection, the live view, the report."""
