"""The small detector: generated scenes, a DAMO-YOLO-style network, its training, export and scoring. See README.md."""

import os

# Scenes are made by one process per core, each with small matrix products; read by numpy when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
