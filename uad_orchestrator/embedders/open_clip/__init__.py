"""OpenCLIP vision transformers and their text towers."""
