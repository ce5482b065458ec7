"""What speaks against a category or a cell: the rules of the asset checks, and what they find in a project."""
