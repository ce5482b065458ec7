"""What is stale and why, and where a number comes from."""
