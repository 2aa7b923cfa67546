// What our scripts use of Node.
declare module "node:fs/promises" {
  export function readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
  export function readFile(path: string, encoding: "utf8"): Promise<string>;
  export function rename(from: string, to: string): Promise<void>;
  export function stat(path: string): Promise<{ size: number }>;
  export function writeFile(path: string, data: Uint8Array | string): Promise<void>;
}
declare module "node:process" {
  const process: { argv: string[]; exit(code: number): never };
  export default process;
}
declare module "node:url" {
  export function pathToFileURL(path: string): URL;
}
declare module "node:util" {
  export function promisify<Asked extends unknown[], Done>(
    call: (...asked: [...Asked, (error: Error | null, done: Done) => void]) => void,
  ): (...asked: Asked) => Promise<Done>;
}
declare module "node:zlib" {
  export const constants: Record<"BROTLI_PARAM_QUALITY" | "BROTLI_PARAM_LGWIN" | "BROTLI_PARAM_SIZE_HINT", number>;
  export function brotliCompress(
    data: Uint8Array,
    options: { params: Record<number, number> },
    callback: (error: Error | null, done: Uint8Array) => void,
  ): void;
}
