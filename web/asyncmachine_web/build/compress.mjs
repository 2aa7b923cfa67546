/**
 * Writes a compressed copy beside each file, several at once.
 *
 *     node compress.mjs QUALITY FILE…
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import process from "node:process";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";

const compress = promisify(brotliCompress);
const [quality, ...files] = process.argv.slice(2);

/** @param {string} file */
async function copy(file) {
  const bytes = await readFile(file);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: Number(quality),
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  await writeFile(`${file}.br.new`, await compress(bytes, { params }));
  await rename(`${file}.br.new`, `${file}.br`);
}

await Promise.all(files.map(copy));
