"""What the line saw: a record of each image, in files that anyone can read."""
