// A small data set in CIFAR-10's format: pseudo-random blobs, the same in every run.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";

const SIDE = 32;
const PLANE = SIDE * SIDE;
const RECORD = 1 + 3 * PLANE;

/** Pseudo-random numbers from 0 to 1 (Mulberry32). */
function* numbers(seed) {
  for (;;) {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    yield ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

/** Returns a batch in CIFAR-10's binary format, with interleaved classes. */
export function batch(images, seed) {
  const random = numbers(seed);
  const next = () => random.next().value;
  const records = Buffer.alloc(images * RECORD);
  for (let image = 0; image < images; image += 1) {
    let at = image * RECORD;
    records[at++] = image % 10;
    for (let colour = 0; colour < 3; colour += 1) {
      const [height, x, y, size] = [next(), SIDE * next(), SIDE * next(), 4 + 8 * next()];
      for (let pixel = 0; pixel < PLANE; pixel += 1) {
        const [dx, dy] = [(pixel % SIDE) - x, Math.floor(pixel / SIDE) - y];
        const blob = height * Math.exp(-(dx * dx + dy * dy) / (2 * size * size));
        records[at++] = Math.round(255 * (0.2 + 0.6 * blob + 0.2 * next()));
      }
    }
  }
  return records;
}

/** Writes training and test images to a folder; returns the files' paths. */
export async function write(folder, training, test) {
  await mkdir(folder, { recursive: true });
  const files = { "data_batch_1.bin": batch(training, 1), "test_batch.bin": batch(test, 2) };
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  return Object.keys(files).map((name) => join(folder, name));
}

/** Writes images as PNG files without labels to a folder; returns the files' paths. */
export async function writeUnlabelled(folder, count) {
  await mkdir(folder, { recursive: true });
  const all = batch(count, 3);
  const paths = Array.from({ length: count }, (_, image) => join(folder, `${String(image).padStart(3, "0")}.png`));
  for (const [image, path] of paths.entries()) await writeFile(path, png(all, image));
  return paths;
}

/** Encodes an image of a batch as PNG. */
export function png(batch, image) {
  const planes = batch.subarray(image * RECORD + 1, (image + 1) * RECORD);
  const rows = Buffer.alloc(SIDE * (1 + 3 * SIDE));
  for (let pixel = 0; pixel < PLANE; pixel += 1) {
    const [x, y] = [pixel % SIDE, Math.floor(pixel / SIDE)];
    // The first byte of each row is its filter: none.
    for (let colour = 0; colour < 3; colour += 1) rows[y * (1 + 3 * SIDE) + 1 + 3 * x + colour] = planes[colour * PLANE + pixel];
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE, 0);
  header.writeUInt32BE(SIDE, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, red, green and blue
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(kind, contents) {
  const named = Buffer.concat([Buffer.from(kind), contents]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(contents.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}
