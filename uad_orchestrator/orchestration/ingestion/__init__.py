"""New normal images: checked, voted on by the detectors, taken in or kept in quarantine."""
