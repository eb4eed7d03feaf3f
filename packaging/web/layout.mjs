/** Element types by the names that everybody gives them. */
export const TYPES = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array };

export function typeOf(array) {
  return Object.keys(TYPES).find((name) => array instanceof TYPES[name]) ?? array.constructor.name;
}

/** An input as a model takes it: its own numbers where shapes match, else NCHW turned to NHWC or
 * back; integers as what they stand for where the model takes floats. Dims that are not positive
 * numbers match anything. */
export function fit(input, wanted, type, model) {
  const { shape } = input;
  const data = type === "float32" ? floats(input) : input.data;
  if (typeOf(data) !== type) {
    throw new Error(`${model} takes ${type}, the packed model ${typeOf(data)}`);
  }
  if (matches(shape, wanted)) return { shape, data };
  for (const axes of shape.length === 4 ? [[0, 2, 3, 1], [0, 3, 1, 2]] : []) {
    const turned = axes.map((axis) => shape[axis]);
    if (matches(turned, wanted)) return { shape: turned, data: transpose(data, shape, axes) };
  }
  throw new Error(`${model} takes ${[...wanted].join("x")}, the packed model ${shape.join("x")}`);
}

function floats({ data, scale, zero }) {
  return data instanceof Float32Array ? data : Float32Array.from(data, (q) => (q - zero) * scale);
}

function matches(shape, wanted) {
  if (shape.length !== wanted.length) return false;
  return shape.every((dim, i) => !(wanted[i] > 0) || wanted[i] === dim);
}

function transpose(data, shape, axes) {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const [n, a, b, c] = axes.map((axis) => shape[axis]);
  const [sn, sa, sb, sc] = axes.map((axis) => strides[axis]);
  const out = new data.constructor(data.length);
  let at = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < a; j++)
      for (let k = 0; k < b; k++)
        for (let l = 0; l < c; l++) out[at++] = data[i * sn + j * sa + k * sb + l * sc];
  return out;
}
