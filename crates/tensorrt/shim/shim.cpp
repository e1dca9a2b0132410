// What trtx-sys cannot reach: interfaces it leaves opaque, and enumerations that a newer library may
// extend, which therefore cross into Rust as plain integers, and a class of TensorRT's to derive from.
// Only that class, TrtforgeOutput, keeps anything between calls.

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cstdint>
#include <new>

// The place for an output whose size only a run tells: one block that never grows. A larger output
// gets no memory, so that the run fails.
class TrtforgeOutput final : public nvinfer1::IOutputAllocator {
public:
  TrtforgeOutput(void *memory, uint64_t bytes) noexcept : memory_(memory), bytes_(bytes) {}

  void *reallocateOutputAsync(char const *, void *, uint64_t size, uint64_t alignment,
                              cudaStream_t) noexcept override {
    wanted_ = size;
    bool const aligned = alignment == 0 || reinterpret_cast<uintptr_t>(memory_) % alignment == 0;
    return size <= bytes_ && aligned ? memory_ : nullptr;
  }

  void notifyShape(char const *, nvinfer1::Dims const &shape) noexcept override { shape_ = shape; }

  void forget() noexcept {
    shape_.nbDims = -1;
    wanted_ = 0;
  }
  nvinfer1::Dims const &shape() const noexcept { return shape_; }
  uint64_t wanted() const noexcept { return wanted_; }

private:
  void *memory_;
  uint64_t bytes_;
  uint64_t wanted_{0};
  nvinfer1::Dims shape_{-1, {}};
};

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

int32_t trtforge_engine_tensor_format(nvinfer1::ICudaEngine const *engine,
                                      char const *name) noexcept {
  return static_cast<int32_t>(engine->getTensorFormat(name));
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

TrtforgeOutput *trtforge_output_create(void *memory, uint64_t bytes) noexcept {
  return new (std::nothrow) TrtforgeOutput(memory, bytes);
}

void trtforge_output_destroy(TrtforgeOutput *output) noexcept { delete output; }

void trtforge_output_forget(TrtforgeOutput *output) noexcept { output->forget(); }

uint64_t trtforge_output_wanted(TrtforgeOutput const *output) noexcept { return output->wanted(); }

int32_t trtforge_output_shape(TrtforgeOutput const *output, int64_t *sizes, int32_t most) noexcept {
  auto const &shape = output->shape();
  for (int32_t axis = 0; axis < shape.nbDims && axis < most; ++axis) {
    sizes[axis] = shape.d[axis];
  }
  return shape.nbDims;
}

// What TensorRT does with an output in a run, through the interface that it knows.
void *trtforge_output_run(nvinfer1::IOutputAllocator *output, uint64_t bytes, uint64_t alignment,
                          int64_t const *sizes, int32_t rank) noexcept {
  nvinfer1::Dims shape{rank, {}};
  for (int32_t axis = 0; axis < rank; ++axis) {
    shape.d[axis] = sizes[axis];
  }
  void *memory = output->reallocateOutputAsync("", nullptr, bytes, alignment, nullptr);
  output->notifyShape("", shape);
  return memory;
}

bool trtforge_context_set_output(nvinfer1::IExecutionContext *context, char const *name,
                                 TrtforgeOutput *output) noexcept {
  return context->setOutputAllocator(name, output);
}

int64_t trtforge_context_most_output_bytes(nvinfer1::IExecutionContext const *context,
                                           char const *name) noexcept {
  return context->getMaxOutputSize(name);
}

#ifdef TRT_MAJOR_RTX
bool trtforge_context_capturable(nvinfer1::IExecutionContext const *context, void *stream) noexcept {
  return context->isStreamCapturable(static_cast<cudaStream_t>(stream));
}
#endif

nvinfer1::IHostMemory *
trtforge_timing_cache_serialize(nvinfer1::ITimingCache const *cache) noexcept {
  return cache->serialize();
}

} // extern "C"
