# Two commands for a fresh machine:  make demo   make test
# Everything they need is set up in .venv; system packages by apt where that is allowed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
.PHONY: demo test lint format figures halves int4 quantized int8-tflite quality blocks bench bench-web sweep memory counts mcu mca tables wheel clean system

demo: $(VENV)/.demo
	$(BIN)/filigree demo --out build/demo

test: $(VENV)/.test system
	$(MAKE) lint
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

lint: $(VENV)/.test
	scripts/lint $(BIN)

format: $(VENV)/.test
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .
	git ls-files 'native/*.c' 'native/*.h' 'tests/*.c' | xargs $(BIN)/clang-format -i

figures: $(VENV)/.test  ## accuracy and agreement of every model in FILIGREE_DATA, as a table
	$(BIN)/python -m tests.models.figures

halves: $(VENV)/.test  ## accuracy and size with float16 weights and activations, as a table
	$(BIN)/python -m tests.models.halves

int4: $(VENV)/.test  ## accuracy and size with int4 weights, as a table
	$(BIN)/python -m tests.models.int4

quantized: $(VENV)/.test  ## accuracy and size in int8, as a table
	$(BIN)/python -m tests.models.quantized

int8-tflite: $(VENV)/.test  ## quantised .tflite files as int8 programs beside LiteRT, as a table
	$(BIN)/python -m pip install --quiet --editable ".[peers]"
	$(BIN)/python -m tests.models.int8_tflite

quality: $(VENV)/.test  ## what pruning costs on every model in FILIGREE_DATA, as tables
	$(BIN)/python -m tests.models.quality

blocks: $(VENV)/.test  ## stored blocks before and after rearrangement, real networks
	$(BIN)/python -m tests.models.blocks

bench: $(VENV)/.test  ## the README's speed table
	$(BIN)/python -m tests.models.speed

sweep: $(VENV)/.test  ## is a converted network ever slower than our own dense plan?
	$(BIN)/python -m tests.models.sweep

memory: $(VENV)/.test  ## arena and peak memory beside other engines
	$(BIN)/python -m pip install --quiet --editable ".[peers]"
	$(BIN)/python -m tests.models.memory

counts: $(VENV)/.test system  ## instructions on arm64, sparse and dense, as a table
	$(BIN)/python -m tests.models.counts

mcu: $(VENV)/.test system  ## instructions, flash and RAM of int8 networks on Cortex-M, as a table
	$(BIN)/python -m tests.models.mcu

mca: $(VENV)/.test system  ## cycles of the inner loops on Cortex-A55 and Neoverse N1, by llvm-mca
	$(BIN)/python -m tests.kernels.mca

tables: $(VENV)/.test system  ## the cost tables of arm64 and wasm, out of the kernels as they are
	$(BIN)/python -m tests.kernels.tables

bench-web: $(VENV)/.test system  ## the README's WebAssembly table, in node and Chromium
	$(BIN)/python -m pip install --quiet --editable ".[peers]"
	scripts/npm-packages $(BIN)
	$(BIN)/python -m tests.models.web

wheel: $(VENV)/.test
	$(BIN)/python -m build --wheel --outdir build/dist .

system:  ## emulators, fuzzer and browser by apt, when root or sudo; otherwise their tests skip
	scripts/system-packages

$(VENV)/.demo: pyproject.toml native/CMakeLists.txt
	scripts/venv $(PYTHON) $(VENV) convert,cross,emulate
	touch $@

$(VENV)/.test: pyproject.toml native/CMakeLists.txt $(shell git ls-files native 2>/dev/null | grep -E '\.(c|h|def)$$')
	scripts/venv $(PYTHON) $(VENV) convert,cross,emulate,test,dev
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist
