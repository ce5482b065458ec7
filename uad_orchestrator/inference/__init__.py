"""Detectors at work on new images: ``infer``, and bundles to run where there is no project."""

from uad_orchestrator.inference.bundle import Bundle, BundleError
from uad_orchestrator.inference.bundle_files import load_bundle, save_bundle
from uad_orchestrator.inference.infer import infer
from uad_orchestrator.inference.results import InferenceResult

__all__ = ["Bundle", "BundleError", "InferenceResult", "infer", "load_bundle", "save_bundle"]
