/**
 * Writes a compressed copy beside each file.
 *
 *     node compress.mjs QUALITY FILE…
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import process from "node:process";
import { brotliCompressSync, constants } from "node:zlib";

const [quality, ...files] = process.argv.slice(2);
for (const file of files) {
  const bytes = await readFile(file);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: Number(quality),
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  await writeFile(`${file}.new`, brotliCompressSync(bytes, { params }));
  await rename(`${file}.new`, `${file}.br`);
}
