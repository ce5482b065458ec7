"""What people look at: the leaderboard as table, JSON, Markdown or CSV, the HTML report, pictures of cases."""

from uad_orchestrator.reporting.board.board_text import render_leaderboard
from uad_orchestrator.reporting.board.leaderboard import Leaderboard, build_leaderboard
from uad_orchestrator.reporting.board.means import DatasetMeans, DetectorMeans
from uad_orchestrator.reporting.board.row import BoardCell, LeaderboardRow
from uad_orchestrator.reporting.cases import ChosenCase, choose_cases
from uad_orchestrator.reporting.html_report import CellSection, write_report
from uad_orchestrator.reporting.pictures.contact_sheet import Case, contact_sheet
from uad_orchestrator.reporting.pictures.defect_picture import defect_picture
from uad_orchestrator.reporting.pictures.heatmap import HeatmapScale
from uad_orchestrator.reporting.robustness_table import RobustnessRow, robustness_table

__all__ = [
    "BoardCell",
    "Case",
    "CellSection",
    "ChosenCase",
    "DatasetMeans",
    "DetectorMeans",
    "HeatmapScale",
    "Leaderboard",
    "LeaderboardRow",
    "RobustnessRow",
    "build_leaderboard",
    "choose_cases",
    "contact_sheet",
    "defect_picture",
    "render_leaderboard",
    "robustness_table",
    "write_report",
]
