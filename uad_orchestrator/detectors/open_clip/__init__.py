"""Detectors on OpenCLIP: neighbours of its tokens, similarity to prompts, or both."""
