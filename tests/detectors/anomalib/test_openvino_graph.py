"""OpenVINO in a process that is told to end: what it leaves of the signal handlers' stack must be there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="extra anomalib not installed")

OPENS = """
import faulthandler, os, signal, sys
import numpy as np
import openvino
from openvino import opset13
from uad_orchestrator.detectors.anomalib.openvino_graph import GraphModel

faulthandler.enable(file=sys.__stderr__)  # its handlers, too, have a stack of their own
image = opset13.parameter([1, 3, 8, 8], np.float32)
score = opset13.reduce_max(image, [1, 2, 3])
score.output(0).set_names({"pred_score"})
openvino.save_model(openvino.Model([score], [image], "graph"), sys.argv[1])
contents = {name: open(name, "rb").read() for name in (sys.argv[1], sys.argv[1].replace(".xml", ".bin"))}
first = GraphModel(contents, sys.argv[1])
second = GraphModel(contents, sys.argv[1])
del first
del second
signal.signal(signal.SIGINT, lambda number, frame: print("handled", flush=True))
os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""


def test_ctrl_c_is_handled_after_graphs_that_went_in_the_order_they_came(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", OPENS, "graph.xml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "handled\nwent on\n"), ended.stderr
