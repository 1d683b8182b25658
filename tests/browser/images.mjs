// A small CIFAR-10: random blots, the same for everybody.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const PLANE = 32 * 32;

/** Numbers in 0..1 that look random (Mulberry32). */
function* numbers(seed) {
  for (;;) {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    yield ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

/** A batch of CIFAR-10's binary format. The classes take turns. */
export function batch(images, seed) {
  const random = numbers(seed);
  const next = () => random.next().value;
  const records = Buffer.alloc(images * (1 + 3 * PLANE));
  for (let image = 0; image < images; image += 1) {
    let at = image * (1 + 3 * PLANE);
    records[at++] = image % 10;
    for (let colour = 0; colour < 3; colour += 1) {
      const [height, x, y, size] = [next(), next(), next(), 4 + 8 * next()];
      for (let pixel = 0; pixel < PLANE; pixel += 1) {
        const [dx, dy] = [(pixel % 32) - 32 * x, Math.floor(pixel / 32) - 32 * y];
        const blot = height * Math.exp(-(dx * dx + dy * dy) / (2 * size * size));
        records[at++] = Math.round(255 * (0.2 + 0.6 * blot + 0.2 * next()));
      }
    }
  }
  return records;
}

/** Writes a folder of training and test images; returns the files' paths. */
export async function write(folder, training, test) {
  const files = { "data_batch_1.bin": batch(training, 1), "test_batch.bin": batch(test, 2) };
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  return Object.keys(files).map((name) => join(folder, name));
}
