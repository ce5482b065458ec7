"""A day of the line against what calibration knows: drift of a quantity, and more alarms than were promised."""
