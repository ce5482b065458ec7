"""A bundle on disk: one folder, no pickle, every file under a digest.

``SHA256SUMS`` (which ``sha256sum -c`` checks, too) has the digest of every other file; it is written last, and
the folder is written aside and renamed. ``SHA256SUMS.sig`` signs it, where a key was given. ``bundle.json`` says what
the detector is, ``state/`` is what it learnt, ``weights/`` the embedder's file as it is, ``masks/`` the mask images of
its preset; the rest is for people: model card, metrics, provenance.
"""

from uad_orchestrator.inference.bundle_files.files import load_bundle, save_bundle

__all__ = ["load_bundle", "save_bundle"]
