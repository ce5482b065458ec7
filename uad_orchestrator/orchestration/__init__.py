"""The Dagster side of the project: the graph and its life. Beside ``cli`` the only package that imports Dagster.

From the bottom up: ``versions``; ``cells`` beside ``dagster_instance``; ``assets``, ``planning``, ``ingestion`` and
``services``; ``checks`` and ``execution``; ``automation``. ``code_location`` puts them together.
"""
