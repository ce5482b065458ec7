"""What is computed for a cell, from its artifacts to its row on the board. No Dagster."""
