"""The whole job of onnxconverter-common, timed without its imports: `convert_float16.py MODEL.onnx OUT.onnx`."""

import sys
import time

import onnx
from onnxconverter_common import float16


def main():
    source, target = sys.argv[1:3]
    started = time.perf_counter()
    model = onnx.load(source)
    converted = float16.convert_float_to_float16(model, keep_io_types=True)
    onnx.save(converted, target)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
