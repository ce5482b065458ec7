"""The bundles of the tests of inference."""

from tests.inference.conftest import bundle, bundle_folder, images, undecided

__all__ = ["bundle", "bundle_folder", "images", "undecided"]
