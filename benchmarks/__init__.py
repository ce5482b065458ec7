"""What the project's speed, memory and accuracy are, as ratios against its peers in the same run."""
