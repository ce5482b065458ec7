"""Your own images: arrange them in folders, name them in uad.yaml, and let `uad` keep the results up to date.

    python examples/own_dataset.py FOLDER

The folder then is a project: `uad leaderboard --home FOLDER`, `uad ui --home FOLDER`. Add images or change a
setting and run `uad refresh --home FOLDER` again: only what depends on the change is computed.
"""

import subprocess
import sys
from pathlib import Path

import cv2

from uad_orchestrator.datasets.demo_generator import generate_defective, write_normals

PROJECT = """\
datasets:
  line7: {layout: folder, root: images}
detectors:
  patchcore: {model: vision_patchcore, embedder: filter_bank, contamination: 0.1}
"""


def arrange_images(housing: Path) -> None:
    """What a camera would deliver: normals to fit, normals and defects to test, masks of the defects."""
    write_normals(housing / "train" / "good", "connector", 16)
    write_normals(housing / "test" / "good", "connector", 6, start=16)
    for folder in ("test/scratch", "ground_truth/scratch"):
        (housing / folder).mkdir(parents=True, exist_ok=True)
    for number in range(4):
        image, mask = generate_defective("connector", "scratch", number)
        cv2.imwrite(str(housing / f"test/scratch/{number:03}.png"), image[..., ::-1])
        cv2.imwrite(str(housing / f"ground_truth/scratch/{number:03}_mask.png"), mask.astype("uint8") * 255)


def main(home: Path) -> None:
    if not (home / "uad.yaml").exists():
        arrange_images(home / "images" / "housing")
        (home / "uad.yaml").write_text(PROJECT)
    for command in ("refresh", "leaderboard"):
        subprocess.run([sys.executable, "-m", "uad_orchestrator.cli", command, "--home", home], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "own-dataset"))
