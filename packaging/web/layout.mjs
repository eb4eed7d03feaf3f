/** An input as a model takes it: its own numbers where shapes match, else NCHW turned to NHWC or
 * back. Dims that are not positive numbers match anything. */
export function fit({ shape, data }, wanted, model) {
  if (matches(shape, wanted)) return { shape, data };
  for (const axes of shape.length === 4 ? [[0, 2, 3, 1], [0, 3, 1, 2]] : []) {
    const turned = axes.map((axis) => shape[axis]);
    if (matches(turned, wanted)) return { shape: turned, data: transpose(data, shape, axes) };
  }
  throw new Error(`${model} takes ${[...wanted].join("x")}, the packed model ${shape.join("x")}`);
}

function matches(shape, wanted) {
  if (shape.length !== wanted.length) return false;
  return shape.every((dim, i) => !(wanted[i] > 0) || wanted[i] === dim);
}

function transpose(data, shape, axes) {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const [n, a, b, c] = axes.map((axis) => shape[axis]);
  const [sn, sa, sb, sc] = axes.map((axis) => strides[axis]);
  const out = new Float32Array(data.length);
  let at = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < a; j++)
      for (let k = 0; k < b; k++)
        for (let l = 0; l < c; l++) out[at++] = data[i * sn + j * sa + k * sb + l * sc];
  return out;
}
