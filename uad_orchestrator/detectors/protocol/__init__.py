"""What every detector is made of: the stages fit, respond and map, their settings, calibration, score tables."""
