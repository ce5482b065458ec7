"""How runs get to a cluster, and what becomes of them there.

``ray``, ``kubernetes`` and ``celery`` are launchers for ``dagster.yaml``, those of other packages that know our cells;
``run_tags`` has what they read, ``ray_head`` and ``ray_nodes`` ask Ray, ``lost_runs`` fails what got lost there.
"""
