/** Compresses the built page once, better than a server can at each request: Caddy sends these files as they are. */

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from 'node:zlib';

const DIRECTORY = new URL('dist/web/browser/', import.meta.url);
const TEXTS = /\.(js|css|html|svg)$/;
const LEVEL = constants.ZSTD_c_compressionLevel;

for (const name of readdirSync(DIRECTORY).filter((name) => TEXTS.test(name))) {
  const file = new URL(name, DIRECTORY);
  const text = readFileSync(file);
  writeFileSync(new URL(`${name}.br`, DIRECTORY), brotliCompressSync(text));
  writeFileSync(new URL(`${name}.zst`, DIRECTORY), zstdCompressSync(text, { params: { [LEVEL]: 19 } }));
  writeFileSync(new URL(`${name}.gz`, DIRECTORY), gzipSync(text, { level: 9 }));
}
