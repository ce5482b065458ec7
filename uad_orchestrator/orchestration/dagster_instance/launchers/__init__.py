"""Run launchers that know our cells, for ``dagster.yaml``: those of dagster-ray, dagster-k8s and dagster-celery."""
