"""Time of what surrounds a detector's network, beside OpenCV and torchvision: pixels to a tensor, outputs to boxes.

* 1920x1080 pixels to a 640 tensor: OpenCV's resize, cvtColor and blobFromImage.
* 8,400 anchors of 80 classes to at most 500 boxes (score 0.05, IoU 0.7): OpenCV's NMSBoxesBatched, torchvision's
  batched_nms.

All get the same arrays and as many threads as there are processors, and must keep as many boxes. torchvision has an
environment of its own (`make torchvision`); without it a note says so.
"""

from statistics import median

from measuring import BINARY, ROOT, Measured, Row, Run, ToolFailed, alternate, tool

TORCHVISION = ROOT / ".deps/venv-torchvision/bin/python"
OURS = BINARY.parent / "examples/measure"
ROUNDS, SECONDS = 9, 0.4
QUICK_ROUNDS = 3
PREPROCESS, POSTPROCESS = "1920x1080 pixels to a 640 tensor", "8,400 x 80 scores to boxes"
GOALS = {PREPROCESS: 0.7, POSTPROCESS: 0.5}


def vision(folder, quick):
    """Both tasks, in turns."""
    peers = {"OpenCV": tool("vision_with_peer.py", "opencv", folder, SECONDS)}
    if TORCHVISION.exists():
        peers["torchvision"] = tool("vision_with_peer.py", "torchvision", folder, SECONDS, python=TORCHVISION)
    Run(tool("vision_with_peer.py", "arrays", folder))
    runs = alternate(QUICK_ROUNDS if quick else ROUNDS, [OURS, folder, SECONDS], *peers.values())
    ours, *theirs = [[run.answer() for run in command] for command in runs]
    found = Measured(notes=[] if TORCHVISION.exists() else ["torchvision is not installed (make torchvision)"])
    for name, answers in zip(peers, theirs):
        found.rows += rows(f"{name} {answers[0]['version']}", ours, answers)
    return found


def rows(peer, ours, theirs):
    """The tasks that the peer can do."""
    kept, expected = ours[0]["kept"], theirs[0]["kept"]
    if kept != expected:
        raise ToolFailed(1, [OURS], f"{kept} boxes are kept, by {peer} {expected}")
    titles = {"preprocess_ms": PREPROCESS, "postprocess_ms": POSTPROCESS}
    return [row(title, peer, ours, theirs, key) for key, title in titles.items() if key in theirs[0]]


def row(title, peer, ours, theirs, key):
    """The median round of either. Rounds share the machine's noise, but a round's children do not run at one time."""
    ours_ms, theirs_ms = (median(answer[key] for answer in answers) for answers in (ours, theirs))
    return Row(f"{title}, beside {peer}", f"{ours_ms:.2f} ms", f"{theirs_ms:.2f} ms", ours_ms / theirs_ms, GOALS[title])
