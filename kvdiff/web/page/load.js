// Files of the page, each checked against the manifest before it is used.

import { Trouble } from './trouble.js';

const HEX = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** The token that a server's address carries, for its own files; '' where there is none. */
export function tokenOf(location) {
  return new URLSearchParams(location.search).get('token') ?? '';
}

/** The bytes at an address, or Trouble. `onBytes(count)` is called as they come. */
export async function bytesOf(url, { token = '', onBytes = () => {} } = {}) {
  let response;
  try {
    response = await fetch(url, token ? { headers: { 'X-Token': token } } : {});
  } catch (error) {
    throw new Trouble('network', url, error);
  }
  if (!response.ok) throw new Trouble(response.status === 403 ? 'token' : 'missing', url, response.status);
  const parts = [];
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    onBytes(value.length);
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** The SHA-256 of bytes in hexadecimal; null where the browser has none, which is so on plain http. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  return HEX(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));
}

/** The bytes at an address, whose SHA-256 must be `digest`. */
export async function checkedBytes(url, digest, options) {
  const bytes = await bytesOf(url, options);
  const found = await sha256(bytes);
  if (found !== null && found !== digest) throw new Trouble('changed', url);
  return bytes;
}

/** The page's manifest: what files there are, with their digests. */
export async function loadManifest(token) {
  const bytes = await bytesOf('manifest.json', { token });
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new Trouble('manifest', 'manifest.json', error);
  }
  if (manifest?.kind !== 'web' || typeof manifest.files !== 'object') throw new Trouble('manifest', 'manifest.json');
  return manifest;
}

/** A file of the manifest. */
export async function loadFile(manifest, name, options) {
  const entry = manifest.files[name];
  if (!entry) throw new Trouble('manifest', name);
  return checkedBytes(name, entry.sha256, options);
}

/** What the page knows of its model: { manifest, spec, tables }. */
export async function loadModel(token) {
  const manifest = await loadManifest(token);
  const [spec, tables] = await Promise.all([
    loadFile(manifest, 'spec.json', { token }),
    loadFile(manifest, 'tables.bin', { token }),
  ]);
  return {
    manifest,
    spec: JSON.parse(new TextDecoder().decode(spec)),
    tables: new Float32Array(tables.buffer, tables.byteOffset, tables.length / 4),
  };
}
