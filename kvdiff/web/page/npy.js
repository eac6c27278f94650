// NumPy's files of arrays: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

const KINDS = { '|u1': Uint8Array, '<f4': Float32Array, '<i4': Int32Array };

/** { data, shape } of a .npy file of uint8, float32 or int32. */
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || view.getUint32(0) !== 0x934e554d) throw new Error('not a .npy file');
  const [length, start] = bytes[6] === 1 ? [view.getUint16(8, true), 10] : [view.getUint32(8, true), 12];
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const [, kind] = /'descr': *'([^']+)'/.exec(header) ?? [];
  const [, sizes] = /'shape': *\(([^)]*)\)/.exec(header) ?? [];
  if (!KINDS[kind] || sizes === undefined || /'fortran_order': *True/.test(header)) throw new Error(`an array of ${kind}`);
  const shape = sizes.split(',').map((size) => size.trim()).filter(Boolean).map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  const content = bytes.slice(start + length);
  if (content.byteLength < count * KINDS[kind].BYTES_PER_ELEMENT) throw new Error('a file that was cut off');
  return { data: new KINDS[kind](content.buffer, 0, count), shape };
}

/** The bytes of a .npy file. */
export function writeNpy(data, shape) {
  const kind = Object.keys(KINDS).find((name) => data instanceof KINDS[name]);
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  let header = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${sizes}), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const bytes = new Uint8Array(10 + header.length + data.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(bytes.buffer).setUint16(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + header.length);
  return bytes;
}
