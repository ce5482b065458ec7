"""The project files the package writes: the demo's, and the commented one of ``uad init``."""

DEMO_YAML = """\
# The demo: generated images, three detectors, no weights to download. Change something and run
# `uad refresh` again: only what depends on the change is computed.
storage: {root: .uad}
runtime: {workers: 2}           # processes; never part of a version

datasets:
  demo: {layout: demo}          # the images are generated below .uad/demo_images

detectors:
  patchcore:
    model: vision_patchcore
    embedder: filter_bank
    coreset: {method: batched_greedy, ratio: 0.1}
  patchcore_robust:             # the same behind a preset that evens out light and white balance
    model: vision_patchcore
    preset: industrial_camera_robust
    embedder: filter_bank
    coreset: {method: batched_greedy, ratio: 0.1}
  anomalydino_8shot:            # eight reference images; the other normals calibrate the threshold
    model: vision_anomalydino
    embedder: filter_bank
    references: {k: 8, seed: 0}
"""
"""The project file of ``uad demo``."""

INIT_YAML = """\
# A uad project. Paths are relative to this file. `uad check` says what is wrong before it costs time,
# `uad refresh` computes what is missing, `uad ui` shows it in the browser.
# Every key, its meaning and its default: docs/project-file.md

storage:
  root: .uad                    # artifacts, caches, index; or an fsspec URL, with `local:` for the rest
  # keep: 3                     # versions of each cell that `uad gc` keeps beside the current one

runtime:                        # recorded, never part of a version
  device: auto                  # auto | cpu | cuda | cuda:1 | mps
  # devices: [0, 1]             # or several GPUs, which the workers take in turn
  # batch_size: 16             # images per forward pass; auto: as many as keep the device busy
  workers: 1

datasets:
  line7:                        # your own images:
    layout: folder              #   <category>/train/good, test/good, test/<defect>, ground_truth/<defect>
    root: data/line7
    # categories: [housing]     # default: those found below root
    # exclude: [housing/train/good/0042.png]
    # incoming: data/line7-incoming    # new normals, <incoming>/<category>/<image>: see automation
  # mvtec_ad: {root: data/mvtec_ad, categories: [bottle, screw]}

presets:                        # plain, industrial_camera_robust and industrial_fast are there already
  camera_robust: [{white_balance: gray_world}, {illumination: {method: homomorphic}}]

detectors:
  patchcore:                    # runs as it is: filter_bank needs no weights
    model: vision_patchcore
    coreset: {method: batched_greedy, ratio: 0.1}
    contamination: 0.05         # nominal false-positive rate of the thresholds
    # review: {from_fpr: 0.1}   # parts below the threshold that a person looks at
  patchcore_robust:
    model: vision_patchcore
    preset: camera_robust
  # patchcore_resnet18:         # a CNN's features: weights from a local file (.pth, .safetensors)
  #   model: vision_patchcore
  #   embedder: {name: resnet18, weights: weights/resnet18.pth, image_size: 256}
  # anomalydino:                # DINOv2 ViT-S/14; a local file, or hub:<id> with download: true
  #   model: vision_anomalydino
  #   embedder: {weights: weights/vit_small_patch14_dinov2.lvd142m.safetensors}
  #   references: {k: 8, seed: 0}

# automation:                   # while `uad ui` runs: new normals of `incoming` are checked and taken in,
#   recalibrate: "0 3 * * *"    #   every night at three; thresholds and memory banks follow
#   intake: {quantile: 0.999, detectors: majority}    # what scores higher waits for `uad ingest`

# evaluation:                   # default: what the dataset's paper measures, see docs/project-file.md
#   aupro_limits: [0.3, 0.05]
"""
"""The commented project file of ``uad init``."""

CLUSTER_INIT_YAML = INIT_YAML.replace(
    """\
  root: .uad                    # artifacts, caches, index; or an fsspec URL, with `local:` for the rest
""",
    """\
  root: s3://<bucket>/<folder>  # the artifacts, of all machines; how they reach it: docs/how-to/object-store.md
  local: .uad                   # of each machine: caches, index, locks, Dagster's settings
""",
)
"""The same for ``uad init --cluster``."""
