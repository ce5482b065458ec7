"""dagster-k8s' run launcher, which knows our cells."""

from __future__ import annotations

import dagster_k8s

from uad_orchestrator.orchestration.dagster_instance.launchers.cells import KnowsCells


class K8sRunLauncher(KnowsCells, dagster_k8s.K8sRunLauncher):
    """A run, a Kubernetes job; its settings in ``dagster.yaml`` are those of ``dagster_k8s.K8sRunLauncher``."""
