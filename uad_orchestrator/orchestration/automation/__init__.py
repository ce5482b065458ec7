"""What starts by itself: sensors, the recalibration and its schedule."""
