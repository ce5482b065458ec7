"""What the line saw, drawn: the days of a cell against what calibration promised."""
