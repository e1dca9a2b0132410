#!/usr/bin/env python3
"""How far a model's outputs are from another's on evaluation photographs: signal to noise in decibel, per output.

    tools/signal_to_noise.py NETWORK REFERENCE.onnx CANDIDATE.onnx [--photographs N]

10 log10 of the reference's energy over the energy of the difference, over all elements and photographs. ONNX Runtime
with graph optimisation off, so a quantized model is judged as it is written. Prints one line of JSON.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

import numpy as np

from coco_average_precision import outputs, session
from detectors import NETWORKS


def decibel(signal, noise):
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal / noise > 0 else -math.inf


def ratios(names, reference, candidate):
    """Decibel by name of output, from the outputs of two models run by run. A NaN in the candidate is all noise."""
    signal, noise = np.zeros(len(names)), np.zeros(len(names))
    for wanted, got in zip(reference, candidate):
        for place, (right, other) in enumerate(zip(wanted, got)):
            right = right.astype(np.float64)
            signal[place] += np.square(right).sum()
            noise[place] += np.square(np.nan_to_num(other - right, nan=np.inf)).sum()
    return {name: decibel(*energies) for name, energies in zip(names, zip(signal, noise))}


def main():
    parser = argparse.ArgumentParser(description="Signal to noise per output.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("reference", type=Path)
    parser.add_argument("candidate", type=Path)
    parser.add_argument("--photographs", type=int, default=4, metavar="N", help="the first N (default 4)")
    arguments = parser.parse_args()
    paths = sorted((Path(os.environ["TRTFORGE_TEST_DATA"]) / "images/evaluation").glob("*.jpg"))[: arguments.photographs]
    names = [output.name for output in session(arguments.reference).get_outputs()]
    runs = (outputs(arguments.network, model, paths) for model in (arguments.reference, arguments.candidate))
    print(json.dumps(ratios(names, *runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
