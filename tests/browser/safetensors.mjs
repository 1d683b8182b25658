// Safetensors files: a JSON header, then the tensors' bytes.

/** Returns the metadata and the tensors of a file; only 32-bit float tensors have values. */
export function read(bytes) {
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.subarray(8, 8 + length).toString());
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    const data = bytes.subarray(8 + length + from, 8 + length + to);
    tensors[name] = { shape, values: dtype === "F32" ? new Float32Array(new Uint8Array(data).buffer) : undefined };
  }
  return { metadata, tensors };
}

/** Returns a file with one tensor of zeros. */
export function ofZeros(name, shape) {
  const bytes = 4 * shape.reduce((product, side) => product * side, 1);
  const header = Buffer.from(JSON.stringify({ [name]: { dtype: "F32", shape, data_offsets: [0, bytes] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(bytes)]);
}
