// What trtx-sys cannot reach: interfaces it leaves opaque, and enumerations that a newer library may
// extend, which therefore cross into Rust as plain integers. Nothing here allocates or keeps state.

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cstdint>

extern "C" {

struct TrtforgeParserError {
  int32_t code;
  int32_t node;
  int32_t line;
  char const *description;
  char const *file;
  char const *function;
  char const *node_name;
  char const *node_operator;
};

bool trtforge_parser_error(nvonnxparser::IParser const *parser, int32_t index,
                           TrtforgeParserError *out) noexcept {
  try {
    auto const *error = parser->getError(index);
    if (error == nullptr) {
      return false;
    }
    *out = TrtforgeParserError{static_cast<int32_t>(error->code()),
                               error->node(),
                               error->line(),
                               error->desc(),
                               error->file(),
                               error->func(),
                               error->nodeName(),
                               error->nodeOperator()};
    return true;
  } catch (...) {
    return false;
  }
}

int32_t trtforge_parser_error_count(nvonnxparser::IParser const *parser) noexcept {
  return parser->getNbErrors();
}

int32_t trtforge_tensor_type(nvinfer1::ITensor const *tensor) noexcept {
  return static_cast<int32_t>(tensor->getType());
}

int32_t trtforge_engine_tensor_type(nvinfer1::ICudaEngine const *engine,
                                    char const *name) noexcept {
  return static_cast<int32_t>(engine->getTensorDataType(name));
}

int32_t trtforge_engine_tensor_mode(nvinfer1::ICudaEngine const *engine,
                                    char const *name) noexcept {
  return static_cast<int32_t>(engine->getTensorIOMode(name));
}

int64_t trtforge_engine_weights_bytes(nvinfer1::ICudaEngine const *engine) noexcept {
  return engine->getEngineStat(nvinfer1::EngineStat::kTOTAL_WEIGHTS_SIZE);
}

#ifdef TRT_MAJOR_RTX
int32_t trtforge_engine_validity(nvinfer1::IRuntime const *runtime, void const *blob,
                                 int64_t size, uint64_t *diagnostics) noexcept {
  return static_cast<int32_t>(runtime->getEngineValidity(blob, size, diagnostics));
}
#endif

nvinfer1::IHostMemory *
trtforge_timing_cache_serialize(nvinfer1::ITimingCache const *cache) noexcept {
  return cache->serialize();
}

} // extern "C"
