"""Runs the plan: in this process, in workers, by a backfill, or for one shot without a project file."""
