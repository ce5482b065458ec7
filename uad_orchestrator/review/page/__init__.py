"""The page: its application, who may ask it, and what it shows."""
