// One packed model in one instance of a module made of wasm.c; the same in node and in browsers.

/** Exit codes of main.c. */
export const SYSTEM = 1, USAGE = 2, INPUT = 3, REFUSED = 7;

/** A failure with the exit code that it ends in. */
export class Failure extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

/** ``module`` is a WebAssembly.Module, ``model`` the bytes of a packed model, ``isa`` a name or "auto",
 * ``shared`` the memory of a module with threads. */
export class Instance {
  constructor(module, model, isa, shared) {
    this.w = new WebAssembly.Instance(module, shared ? { env: { memory: shared } } : {}).exports;
    this.memory = shared ?? this.w.memory;
    if (isa !== "auto" && this.w.fil_w_force(this.put(new TextEncoder().encode(`${isa}\0`))) !== 0) {
      throw new Failure(USAGE, `${isa} is not in this build, or failed its self-test`);
    }
    const status = this.w.fil_w_open(this.put(model), model.length);
    if (status !== 0) {
      const name = this.text(this.w.fil_w_status(status));
      const sentence = this.text(this.w.fil_w_sentence(status));
      throw new Failure(REFUSED, `${name}: ${sentence} (item ${this.w.fil_w_bad_item()})`);
    }
  }

  get isa() {
    return this.text(this.w.fil_w_isa());
  }

  /** A view of memory; growing memory detaches it, so it is made anew for each use. */
  view(pointer, bytes) {
    return new Uint8Array(this.memory.buffer, pointer >>> 0, bytes);
  }

  text(pointer) {
    const bytes = new Uint8Array(this.memory.buffer, pointer >>> 0);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }

  put(bytes) {
    const pointer = this.w.fil_w_alloc(bytes.length);
    if (pointer === 0) throw new Failure(SYSTEM, `out of memory: ${bytes.length} bytes`);
    this.view(pointer, bytes.length).set(bytes);
    return pointer;
  }

  /** ``inputs``: the bytes of each port's array. */
  load(inputs) {
    const wanted = this.w.fil_w_inputs();
    if (inputs.length !== wanted) {
      throw new Failure(INPUT, `${inputs.length} inputs, the model takes ${wanted}`);
    }
    inputs.forEach((input, i) => {
      const bytes = this.w.fil_w_bytes(i) >>> 0;
      if (input.length !== bytes) {
        throw new Failure(INPUT, `input ${i} has ${input.length} bytes, the model takes ${bytes}`);
      }
      this.view(this.w.fil_w_port(i), bytes).set(input);
    });
  }

  run() {
    this.w.fil_w_run();
  }

  /** Shape, fil_dtype and bytes of each output; the bytes are a view that the next run overwrites. */
  outputs() {
    const first = this.w.fil_w_inputs();
    return Array.from({ length: this.w.fil_w_outputs() }, (_, i) => {
      const port = first + i;
      const rank = this.w.fil_w_rank(port);
      const shape = Array.from({ length: rank }, (_, axis) => this.w.fil_w_dim(port, axis));
      const dtype = this.w.fil_w_dtype(port);
      return { shape, dtype, data: this.view(this.w.fil_w_port(port), this.w.fil_w_bytes(port) >>> 0) };
    });
  }
}
