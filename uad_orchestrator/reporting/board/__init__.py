"""The leaderboard: rows, repeats, ties, means, and the board as text."""
